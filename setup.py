"""Builds the batch verifier; without a C compiler the relay installs all the same and says so at start."""

from cffi import FFI
from setuptools import setup

# Loaded by path: the package itself cannot be imported before its dependencies are installed.
namespace: dict[str, object] = {}
with open("trio_relay/nostr/batch_build.py", encoding="utf-8") as source:
    exec(compile(source.read(), "batch_build.py", "exec"), namespace)
ffi = namespace["ffi"]
assert isinstance(ffi, FFI)

extension = ffi.distutils_extension()
extension.optional = True

setup(ext_modules=[extension])
