"""The shared package of the vaebook textbook: small enough to read, tested enough to trust.

Its modules, ground floor first; none imports from one below it in this list:

    device       which device to compute on, seeds
    data         image data sets as tensors, mini-batches
    densities    draws, log-likelihoods, Kullback-Leibler divergences
    exact        latent variable models whose evidence is known, and means over q without drawing
    bounds       the evidence lower bound and its parts, importance weights
    estimators   gradients of expectations: score function, reparameterized, finite differences
    models       Autoencoder, VAE and beta-VAE
    backprop     the gradients of these models, written out: faster than autograd's, and equal
    training     fit(): one training loop for all models
    evaluation   what the book's claims are measured with
    figures      one style, image grids, latent planes
    diagrams     drawn models and computation graphs
    explorers    figures with sliders, live in a browser without a kernel too
    checks       checks of a learner's answers, which say which mistake was made
    book         reads book.yml, the list of chapters
"""

__version__ = "0.1.0"
