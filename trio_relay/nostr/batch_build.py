"""The C source of `_batch`: many BIP-340 verifications in one call that gives up the GIL once.

A Python loop of small GIL-releasing calls in a thread may wait a switch interval after each to get the GIL back: beside
a busy event loop it came down to 87 signatures a second, where this loop had 4,900 and more (`perf/signatures.py`).
It is handed the function pointers of the libsecp256k1 that coincurve carries: nothing is linked or vendored here.
"""

from cffi import FFI

ffi = FFI()
ffi.cdef(
    "void verify_batch(uintptr_t context, uintptr_t parse, uintptr_t verify, size_t count,"
    " const unsigned char *ids, const unsigned char *pubkeys, const unsigned char *sigs, unsigned char *valid);"
)
ffi.set_source(
    "trio_relay.nostr._batch",
    """
    #include <stddef.h>
    #include <stdint.h>

    /* secp256k1_xonly_pubkey is 64 opaque bytes in every release of the library's ABI. */
    typedef struct { unsigned char data[64]; } xonly_pubkey;
    typedef int (*parse_function)(const void *, xonly_pubkey *, const unsigned char *);
    typedef int (*verify_function)(const void *, const unsigned char *, const unsigned char *, size_t,
                                   const xonly_pubkey *);

    static void verify_batch(uintptr_t context, uintptr_t parse, uintptr_t verify, size_t count,
                             const unsigned char *ids, const unsigned char *pubkeys,
                             const unsigned char *sigs, unsigned char *valid) {
        const void *ctx = (const void *)context;
        for (size_t i = 0; i < count; i++) {
            xonly_pubkey key;
            valid[i] = ((parse_function)parse)(ctx, &key, pubkeys + 32 * i)
                    && ((verify_function)verify)(ctx, sigs + 64 * i, ids + 32 * i, 32, &key);
        }
    }
    """,
)
