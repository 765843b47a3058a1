"""Words that are no metrics, each in plain words with its formula and its source; and the sources."""

from __future__ import annotations

from shiftaudit.metrics.definitions import Term

ZHANG = "Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019"
AZULAY = (
    "Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small image transformations?, JMLR 2019"
)
APS = "Chaman & Dokmanić, Truly Shift-Invariant Convolutional Neural Networks, CVPR 2021"
AFC = (
    "Michaeli, Michaeli & Soudry, Alias-Free Convnets: Fractional Shift Invariance via Polynomial Activations, "
    "CVPR 2023"
)
LIN = "Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Information Theory 1991"
GAFFKE = (
    "Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable, 2005"
)
HALL = "Hall, On the removal of skewness by transformation, JRSS B 1992"
NONE = "defined here"

TERMS: tuple[Term, ...] = (
    Term(
        "equivariance_error",
        "equivariance error",
        "Features of the moved image should be the moved features. The error says how far from that a stage is: 0 means "
        "they just move along (nothing aliases), 1 that they are no closer than the features of another image. It is "
        "given where features enter a stage and where they leave it. Channels that hold one value everywhere are left out "
        "and counted. Under crop, what interpolation alone can account for is stated: `floor` in JSON.",
        "mean over images and shifts of d / D, d² = mean over channels of min(2, mean over positions of (V − T R)² / var R): "
        "R and V the maps of the unshifted and the shifted view, T the fractional Fourier shift by (dy, dx)/stride (under "
        "crop: of the map continued by its mirror image, on the overlap), D the mean of d between the maps of the first 8 "
        "images, each map centred",
        ZHANG + " (internal feature distance), with a fractional shift and a calibrated scale",
        moved_by=(
            "aliasing before and in the stage, padding, nonlinearities, and a grid that does not fit the input; not a "
            "factor or an addend in a channel, so a folded batch-norm, a bias, a frozen or packed file have the same errors"
        ),
        unit="error",
    ),
    Term(
        "damage",
        "damage of a stage",
        "What a stage's choice of samples does to the answers. The image stays where it is, and this one operation "
        "keeps other samples than usual, as it would had the image moved; the answer is compared with the usual one. "
        "Stages between the same two strides (a branch and its shortcut) sample together. Damages do not add up: "
        "each alone may do nearly what all do at once. Padding has a part in it, since the far border is continued as "
        "the operation pads and later maps lie otherwise to theirs: `--damage N` says how much, as what is gone where the "
        "whole network pads circularly. By default one view of one image in five is taken apart, of about ten images where "
        "there are fewer than fifty, which costs a few per cent of a run; `--damage N` takes N views of every image.",
        "mean over images of ½ Σ |p − q| between the probabilities at another phase and at phase (0, 0), the phase drawn from "
        "all others; and the share of answers that change",
        NONE,
        unit="probability",
        moved_by=(
            "how the stage samples, what lies behind it, and the phases that are drawn; not the way the network is "
            "written down, nor, but for the far border, padding"
        ),
    ),
    Term(
        "cause",
        "cause of a change",
        "A shifted view differs in two ways: stages keep other samples of it (aliasing), and its content lies elsewhere to "
        "the border (padding, the wrapped or new edge, and whatever else depends on place). Each is also made alone: the "
        "image at rest, sampled where the shifted view would be; and the shifted view, sampled where the image at rest was. "
        "In a network with circular padding the first does all of the change and the second nothing; at multiples of the "
        "total stride, the lattice, it is the other way round. Elsewhere both owe something to a third thing, the sampling "
        "grid that lies otherwise to the border (by half a pixel of the last map at most), and either may do what both do. "
        "So each is given half of what it does first and half of what it does last (Shapley), where that cancels.",
        "aliasing causes (observed + aliasing alone − border alone) / 2, the border the rest; overlap = aliasing alone + "
        "border alone − observed. In shares of answers that change against the unshifted one, and in mean total variation",
        "Shapley, A Value for n-Person Games, 1953; the two counterfactuals are defined here",
        moved_by=(
            "the distance of the shifts, which decides how much the border does; not the number of views, beyond noise"
        ),
    ),
    Term(
        "ceiling",
        "ceiling of a filter",
        "The most that a perfect anti-aliasing could win on these views: no more than answers change now, and no more than "
        "aliasing alone changes. Where it is nothing, no filter helps.",
        "min(observed, aliasing alone), in points of agreement with the unshifted answer",
        NONE,
        unit="share",
        moved_by="what moves the cause; it says nothing of what a filter costs in accuracy",
    ),
    Term(
        "shift",
        "shift (dy, dx)",
        "A move of the image by dy pixels down and dx pixels right, counted on the network's input; "
        "negative is up and left.",
        "(dy, dx) in input pixels",
        NONE,
        moved_by=(
            "random ones by the seed, the range, the protocol and the bytes of the image; not by the model, nor by how many "
            "images there are or in which order"
        ),
    ),
    Term(
        "view",
        "view",
        "One image under one shift, as the network gets it. The unshifted view is the image left where it was.",
        "(image, shift)",
        NONE,
        moved_by="the image, its shift, the protocol and the preprocessing; not the batch it is in, nor other images",
    ),
    Term(
        "circular",
        "circular protocol",
        "The image is moved with wrap-around: what leaves on one side comes in on the other. No pixel is "
        "lost, so a network without aliasing and with circular padding would not notice at all.",
        "the S×S input rolled by (dy, dx)",
        APS,
        moved_by="aliasing, padding, and the seam where opposite edges meet; no content comes in, so not what lies beyond",
    ),
    Term(
        "crop",
        "crop protocol",
        "A window of the network's input size moves over a larger image, so real pixels come in on one "
        "side, as when a camera moves. Closest to life; content near the border truly changes.",
        "an S×S window moved by (−dy, −dx) over the larger canvas",
        ZHANG,
        moved_by=(
            "aliasing, padding, and what comes in at the border, so that not even a perfect network need be at 100 %; no seam"
        ),
    ),
    Term(
        "stage",
        "stage",
        "One operation that makes the feature map smaller: a strided convolution, a pooling, a slicing. Only "
        "there can shift-equivariance break by aliasing. The final reduction to 1×1 is the head, not a stage.",
        "any operation with a spatially smaller 4-D output, larger than 1×1",
        NONE,
        moved_by="the network's operations and its input size; not its weights, the images, or the form of the file",
    ),
    Term(
        "stride",
        "stride",
        "How many input pixels lie between neighbouring features; it multiplies from stage to stage. The "
        "layer stride is the factor of one stage alone. Shifts by a multiple of the stride are harmless to a "
        "circular network; others are not.",
        "input pixels per feature pixel, (y, x)",
        NONE,
        moved_by="the operations on the way from the input; not the weights, nor names or the form of the file",
    ),
    Term(
        "level",
        "level",
        "All stages with the same cumulative stride, such as the main branch and the shortcut of one residual block.",
        "rank of the cumulative stride, 1 nearest the input",
        NONE,
        moved_by="the cumulative stride; not what a stage computes, nor the branch it lies on",
    ),
    Term(
        "phase",
        "phase",
        "Where a shift lands between the samples a stage keeps. Phase (0, 0) is a whole number of strides: "
        "the same samples are kept, so nothing aliases, and what is left is padding, or a grid that does not fit the "
        "input. The map of errors over phase shows the lattice of clean shifts.",
        "(dy mod stride, dx mod stride)",
        ZHANG,
        moved_by="the shift and the stride; not how far the shift goes: shifts that differ by whole strides have one phase",
    ),
    Term(
        "aliasing",
        "aliasing",
        "Keeping every second value without smoothing first lets fine detail turn into false coarse detail, "
        "and which false detail depends on where the image happens to lie. It is why a move of one pixel "
        "can change an answer.",
        "frequencies above half the sampling rate fold onto lower ones",
        ZHANG,
        moved_by="a map's fine detail and the filter before samples are dropped; not the border, nor shifts by whole strides",
    ),
    Term(
        "blurpool",
        "BlurPool",
        "A small fixed blur before samples are dropped. The filter size (1 to 7) says how wide: 1 is no blur "
        "at all, larger is smoother and more stable, and costs more sharpness. Even sizes move the sampling "
        "grid by half a pixel.",
        "depthwise binomial filter (rows of Pascal's triangle, outer product, sum 1), then stride",
        ZHANG,
        moved_by="`--filter-size`, `--strength` and `--pad`; not the weights or images: the filter is fixed",
    ),
    Term(
        "near_ties",
        "near ties",
        "Predictions whose two best classes are practically equal (logits closer than 1e-4). Which of them "
        "wins can depend on rounding, so they are counted.",
        "#{predictions: largest logit − second largest < 1e-4}",
        NONE,
        moved_by="the number of predictions and the scale of the logits; not whether an answer changes",
        unit="count",
    ),
    Term(
        "degenerate",
        "degenerate",
        "(Nearly) all images got one and the same answer. Such a model is perfectly consistent and "
        "perfectly useless; look for a wrong preprocessing or untrained weights before reading any other "
        "number.",
        "95 % or more of the unshifted answers are one class, and fewer than 95 % of the labels are",
        NONE,
        moved_by="the unshifted answers and the labels; no shift, nor how sure the answers are",
        unit="share",
    ),
    Term(
        "anchor",
        "anchor of a baseline",
        "The measurement that a baseline began with. `baseline update` replaces the measurement that a gate compares "
        "with and keeps the anchor, and the gate judges every margin against both, so that small drops cannot add up. "
        "Only `baseline save` and `baseline update --re-anchor` move it.",
        "candidate − anchor on the same images, views and labels, judged by the margins of the gate",
        NONE,
        moved_by="`baseline save` and `baseline update --re-anchor`; not `baseline update`, nor a gate",
    ),
    Term(
        "interval",
        "95 % interval",
        "The range in which the value would plausibly lie on other images of the same kind. An image counts once, however "
        "many shifts it has, since these are not independent. For shares an imaginary image is set at the end of the range, "
        "so that few images, or images that all agree, claim no certainty; in simulations with 10 to 500 images such "
        "intervals hold the truth in 92 % of cases or more. Changes of probability, divergences and errors of features have "
        "an approximate interval (`approximate-t` in JSON, ≈ in tables): it holds as often where many images share the change, "
        "and too rarely where a few images have all of it; of fewer than 20 images there is none.",
        "shares: the limits at which the mean of two p-values is 0.025, of randomly weighted means with one imaginary image "
        "at the far end and at the near end of the range (for yes/no outcomes the mid-p interval); others: Student's "
        "interval together with Hall's for skewed values",
        GAFFKE + "; " + HALL,
        moved_by=(
            "how many images there are and how they differ; more shifts narrow it only where images are alike; not by a seed, "
            "by resampling, nor by the order of the images"
        ),
    ),
)
