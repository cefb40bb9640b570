"""The Wasserstein-2 distance of style-transfer-pytorch in float64 PyTorch, and the exact one.

References: Higham, "Functions of Matrices", 2008, for the root; Lin and Maji, "Improved Bilinear Pooling with CNNs",
2017, for its gradient.
"""

import torch
from references.torch_vgg19 import flat, gram_by_positions


class Root(torch.autograd.Function):
    """Square root of a positive matrix by Newton and Schulz's steps, and its gradient by as many."""

    @staticmethod
    def forward(ctx, matrix, steps):
        size, one = matrix.norm(), torch.eye(len(matrix), dtype=torch.float64)
        root, inverse = matrix / size, one
        for _ in range(steps):
            middle = (3 * one - inverse @ root) / 2
            root, inverse = root @ middle, middle @ inverse
        root = root * size.sqrt()
        ctx.save_for_backward(root)
        ctx.steps = steps
        return root

    @staticmethod
    def backward(ctx, gradient):
        (root,) = ctx.saved_tensors
        size, one = root.norm(), torch.eye(len(root), dtype=torch.float64)
        sign, solution = root / size, gradient / size
        for _ in range(ctx.steps):
            solution = (solution @ (3 * one - sign @ sign) - sign @ (sign @ solution - solution @ sign)) / 2
            sign = sign @ (3 * one - sign @ sign) / 2
        return solution / 2, None


def mean_and_covariance(features):
    """Of a map's positions, 1e-4 added to the variances."""
    mean, second = flat(features).mean(1), gram_by_positions(features)
    return mean, second - torch.outer(mean, mean) + 1e-4 * torch.eye(len(mean), dtype=torch.float64)


def wasserstein(x, t, *, steps=12):
    """Wasserstein-2 between two maps' Gaussians, squared, means and variances averaged over channels."""
    (mean_x, cov_x), (mean_t, cov_t) = mean_and_covariance(x), mean_and_covariance(t)
    root = Root.apply(cov_t, steps)
    mixed = Root.apply(root @ cov_x @ root, steps)
    return ((mean_x - mean_t) ** 2).mean() + torch.diagonal(cov_t + cov_x - 2 * mixed).mean()


def exact_wasserstein(x, t):
    """The same by eigenvalues: the trace of a root is the sum of their roots."""
    (mean_x, cov_x), (mean_t, cov_t) = mean_and_covariance(x), mean_and_covariance(t)
    values, vectors = torch.linalg.eigh(cov_t)
    root = vectors * values.sqrt() @ vectors.T
    trace = torch.linalg.eigvalsh(root @ cov_x @ root).sqrt().sum()
    return ((mean_x - mean_t) ** 2).mean() + (cov_x.trace() + cov_t.trace() - 2 * trace) / len(mean_x)


def check_wasserstein(x, t):
    """That the distance, where enough steps are made, is the exact one, and its gradient."""
    found, exact = wasserstein(x, t, steps=40), exact_wasserstein(x, t)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=0)
    found, exact = (torch.autograd.grad(it, x)[0] for it in (found, exact))
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6 * exact.abs().max().item())
