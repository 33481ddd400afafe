# pragma version 0.4.3
"""
@title Signatures
@license Apache-2.0
@notice The EIP-712 domain of this market, and recovery of who signed. Signatures are EIP-2098 pairs
        (r, vs); only the lower half of s is accepted, so that a signature has one form.
"""


# ---- constants -------------------------------------------------------------------------------------

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME: constant(bytes32) = keccak256("Wattbook")
VERSION: constant(bytes32) = keccak256("1")
S_MASK: constant(uint256) = (1 << 255) - 1
S_MAX: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168


# ---- internal functions ----------------------------------------------------------------------------


@internal
@view
def _separator() -> bytes32:
    """
    @notice Domain separator of this contract on this chain.
    """
    return keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))


@internal
@view
def _digest(struct_hash: bytes32) -> bytes32:
    """
    @notice EIP-712 digest of a struct.
    """
    return keccak256(concat(b"\x19\x01", self._separator(), struct_hash))


@internal
@view
def _signed_by(signer: address, struct_hash: bytes32, r: bytes32, vs: bytes32) -> bool:
    """
    @notice Whether `signer` signed the struct; false for a high s, for a signature of nobody, and for nobody.
    """
    s: uint256 = convert(vs, uint256) & S_MASK
    if s > S_MAX or signer == empty(address):
        return False
    v: uint256 = 27 + (convert(vs, uint256) >> 255)
    return ecrecover(self._digest(struct_hash), v, convert(r, uint256), s) == signer
