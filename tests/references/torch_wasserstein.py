"""The Wasserstein-2 distance of style-transfer-pytorch in float64 PyTorch, and the exact one.

References: Higham, "Functions of Matrices", 2008, for the root; Lin and Maji, "Improved Bilinear Pooling with CNNs",
2017, for its gradient.
"""

import torch
from references.torch_vgg19 import flatten, gram_by_positions


class Root(torch.autograd.Function):
    """Square root of a positive matrix by Newton-Schulz steps, and its gradient by the same number of steps."""

    @staticmethod
    def forward(ctx, matrix, steps):
        norm, identity = matrix.norm(), torch.eye(len(matrix), dtype=torch.float64)
        root, inverse = matrix / norm, identity
        for _ in range(steps):
            middle = (3 * identity - inverse @ root) / 2
            root, inverse = root @ middle, middle @ inverse
        root = root * norm.sqrt()
        ctx.save_for_backward(root)
        ctx.steps = steps
        return root

    @staticmethod
    def backward(ctx, gradient):
        (root,) = ctx.saved_tensors
        norm, identity = root.norm(), torch.eye(len(root), dtype=torch.float64)
        sign, solution = root / norm, gradient / norm
        for _ in range(ctx.steps):
            solution = (solution @ (3 * identity - sign @ sign) - sign @ (sign @ solution - solution @ sign)) / 2
            sign = sign @ (3 * identity - sign @ sign) / 2
        return solution / 2, None


def mean_and_covariance(features):
    """Return the mean and covariance over a map's positions, with 1e-4 added to the variances."""
    mean, second = flatten(features).mean(1), gram_by_positions(features)
    return mean, second - torch.outer(mean, mean) + 1e-4 * torch.eye(len(mean), dtype=torch.float64)


def wasserstein(x, t, *, steps=12):
    """Return the squared Wasserstein-2 distance of two maps' Gaussians, averaged over channels."""
    (mean_x, cov_x), (mean_t, cov_t) = mean_and_covariance(x), mean_and_covariance(t)
    root = Root.apply(cov_t, steps)
    mixed = Root.apply(root @ cov_x @ root, steps)
    return ((mean_x - mean_t) ** 2).mean() + torch.diagonal(cov_t + cov_x - 2 * mixed).mean()


def exact_wasserstein(x, t):
    """Return ``wasserstein`` by eigenvalues: the trace of a root is the sum of the eigenvalues' roots."""
    (mean_x, cov_x), (mean_t, cov_t) = mean_and_covariance(x), mean_and_covariance(t)
    values, vectors = torch.linalg.eigh(cov_t)
    root = vectors * values.sqrt() @ vectors.T
    trace = torch.linalg.eigvalsh(root @ cov_x @ root).sqrt().sum()
    return ((mean_x - mean_t) ** 2).mean() + (cov_x.trace() + cov_t.trace() - 2 * trace) / len(mean_x)


def check_wasserstein(x, t):
    """Check that with enough steps the distance and its gradient equal the exact ones."""
    distance, exact = wasserstein(x, t, steps=40), exact_wasserstein(x, t)
    torch.testing.assert_close(distance, exact, rtol=1e-9, atol=0)
    gradient, exact_gradient = (torch.autograd.grad(value, x)[0] for value in (distance, exact))
    torch.testing.assert_close(gradient, exact_gradient, rtol=1e-6, atol=1e-6 * exact_gradient.abs().max().item())
