"""What training minimises: a file for each term of the loss, most of them memories of clusters.

``term`` says what a term is and is told, ``total`` adds them up by name, ``centres`` moves the vectors of clusters by
batches, ``softmax`` holds the cross-entropies that several terms share.
"""
