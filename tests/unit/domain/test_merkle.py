"""Merkle trees of RFC 9162: the tree of the definition, proofs that hold, and none that hold for anything else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.merkle import Inclusion, Tree
from events.values import Digest

LEAVES = st.lists(st.binary(min_size=0, max_size=40), min_size=1, max_size=70)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162 clause 2.1.1, word for word: split at the largest power of two smaller than the count."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@given(LEAVES)
def test_the_root_is_that_of_the_definition(leaves):
    assert Tree(leaves).root.raw == by_definition(leaves)


@given(LEAVES, st.data())
def test_every_leaf_is_proven_and_nothing_else(leaves, data):
    tree = Tree(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = tree.proof(index)
    assert proof.leads(leaves[index], tree.root)
    assert not proof.leads(leaves[index] + b"x", tree.root)
    assert not proof.leads(leaves[index], Digest.of(b"another root"))
    assert not Inclusion(index, proof.count, (*proof.path, tree.root)).leads(leaves[index], tree.root)
    assert not Inclusion(proof.count, proof.count, proof.path).leads(leaves[index], tree.root)
    for other in range(len(leaves)):
        if leaves[other] != leaves[index]:
            assert not Inclusion(other, proof.count, proof.path).leads(leaves[index], tree.root)


def test_a_leaf_is_no_node():
    """RFC 9162 clause 2.1.1: the prefixes keep an inner node from passing for a leaf."""
    one, other = b"a", b"b"
    inner = hashlib.sha256(b"\x00" + one).digest() + hashlib.sha256(b"\x00" + other).digest()
    assert Tree([inner]).root != Tree([one, other]).root


def test_no_leaves_make_no_tree():
    with pytest.raises(ValueError, match="needs a leaf"):
        Tree([])
    with pytest.raises(IndexError):
        Tree([b"a"]).proof(1)
