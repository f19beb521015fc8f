"""Training of classifiers: networks, batches, augmentation, devices, the trainer itself."""
