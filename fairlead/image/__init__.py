"""Makes images of bundles and runs them, by docker, podman or buildah; inside an image, `start` becomes its process.

Nothing is imported here: `python -m fairlead.image.start` is what a container starts with.
"""
