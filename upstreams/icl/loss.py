"""The interventional contrastive loss of ICL (Cox & Barker, Interspeech 2026, arXiv 2606.17967).

A latent is cut into equal blocks, one a intervened variable (speaker, sentence), and perhaps a residual block that no
variable supervises. Each supervised block is pulled together where its variable agrees and apart where it differs
(`contrastive`); each pair of blocks is kept uncorrelated (`orthogonality`); `total` adds them up.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

OrthMode = Literal["dimension", "batch"]


def contrastive(z: Tensor, values: Tensor, temperature: float = 0.1, margin: float = 0.0) -> Tensor:
    """Multi-positive contrastive loss of one block, a scalar: SupCon's L_out (Khosla et al. 2020).

    z is (B, d), normalised here; values is (B,), equal for positives. For each anchor with a positive: the
    cross-entropy between a uniform distribution over its positives and the softmax over all other samples of
    cosine / temperature; then the mean over anchors. `margin` is taken off the cosine of positives (Wang et al. 2018).
    Anchors without positives are dropped; without any anchor the loss is 0 and a warning says so.
    """
    unit = F.normalize(z, dim=1)
    positive = values[:, None] == values[None, :]
    positive.fill_diagonal_(False)
    count = positive.sum(dim=1)
    anchors = count > 0
    if not bool(anchors.any()):
        warnings.warn("no two samples of the batch share a value: the contrastive loss is 0", stacklevel=2)
        return z.sum() * 0.0
    logits = (unit @ unit.T - margin * positive) / temperature
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_p = logits - logits.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    of_positives = torch.where(positive, log_p, 0.0).sum(dim=1)
    return -(of_positives[anchors] / count[anchors]).mean()


def orthogonality(z_j: Tensor, z_k: Tensor, mode: OrthMode = "dimension") -> Tensor:
    """How far two blocks, (B, d) each, are from orthogonal, a scalar; rows are normalised here. Bousmalis et al. 2016,
    with the mean in place of the sum.

    Both published forms: "dimension" is the mean square of the d x d cross-correlation Zj' Zk (the authors' present
    code), "batch" that of the B x B cosines Zj Zk' (their first release). Neither is centred.
    """
    u_j, u_k = F.normalize(z_j, dim=1), F.normalize(z_k, dim=1)
    product = u_j.T @ u_k if mode == "dimension" else u_j @ u_k.T
    return product.square().mean()


def total(
    blocks: Tensor,
    values: Tensor,
    *,
    temperature: float = 0.1,
    margin: float = 0.0,
    orth_mode: OrthMode = "dimension",
    orth_weight: float = 1.0,
) -> Tensor:
    """Sum of the supervised blocks' contrastive terms and of the orthogonality of all pairs of blocks, a scalar.

    blocks is (B, J, d) or, with a residual block as the last, (B, J + 1, d); values is (B, J).
    """
    parts = blocks.unbind(1)
    contrasts = [contrastive(parts[j], values[:, j], temperature, margin) for j in range(values.shape[1])]
    pairs = [orthogonality(parts[j], parts[k], orth_mode) for k in range(len(parts)) for j in range(k)]
    loss = torch.stack(contrasts).sum()
    return loss + orth_weight * torch.stack(pairs).sum() if pairs else loss
