"""Do the tests notice when a line of what is trusted most is wrong?"""
