"""IPEX training and OpenVINO export, in the environment that make ipex builds."""
