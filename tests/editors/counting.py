"""An engine that notes what it is asked for."""

from roentmod.editors.engines import TorchEngine


class Counter(TorchEngine):
    """Torch, which notes how many rows each call had."""

    def __init__(self, parts):
        super().__init__(parts)
        self.rows, self.decoded = [], []

    def unet(self, latents, *more, **options):
        self.rows.append(len(latents))
        return super().unet(latents, *more, **options)

    def decode(self, latents):
        self.decoded.append(len(latents))
        return super().decode(latents)
