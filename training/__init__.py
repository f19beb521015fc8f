"""How the bundled generator `mini` is made: cohort, autoencoder, U-Net, export.

Run in order: ``python -m training.cohort``, ``python -m training.autoencoder``,
``python -m training.unet``, ``python -m training.export``. ``python -m training.distill`` then
makes one pass of two, and few steps of many.
"""
