"""Student, panel and cascade behind one HTTP address, under the protocols that decision models are asked by.

a request -> decisions.py, systemone.py or classification.py: its texts and its questions about them
          -> text_label.py: what labels a text: student_process.py, panel.py or cascade.py
          -> questions.py: from a text's distribution over the labels to the answers
"""
