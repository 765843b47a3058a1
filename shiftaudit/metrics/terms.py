"""Every metric and term in plain words, with its formula and its source: the data behind `shiftaudit.metrics.vocabulary`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One metric or word of the vocabulary."""

    name: str
    """As in the JSON and on the command line."""
    label: str
    """Short, for the row of a table."""
    kind: str
    """How its value is printed: `share` (per cent), `number` (three digits) or `word` (it has no value)."""
    text: str
    """What it is and how to read it."""
    formula: str
    source: str


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
WILSON = "Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927"
NONE = "defined here"

METRICS: tuple[Term, ...] = (
    Term(
        "consistency",
        "consistency",
        "share",
        "How often two shifted views of one picture get the same answer. Each picture is moved in several ways, the "
        "answers are compared two at a time, and the share of pairs that agree is averaged over the pictures. 100 % "
        "means that moving the picture never changes the answer. It says nothing about whether the answer is "
        "right: a model that always says `cat` scores 100 %.",
        "mean over images of #{pairs of the K shifted views with equal top-1 class} / (K(K−1)/2)",
        ZHANG + " (there: one pair of random crops an image)",
    ),
    Term(
        "agreement_with_unshifted",
        "agreement with unshifted",
        "share",
        "The share of shifted views that get the same answer as the picture left where it was. Usually a "
        "little higher than consistency, since only one of the two views is moved.",
        "mean over images and shifts of [top-1(shifted) = top-1(unshifted)]",
        AZULAY + " (there: its complement, P(top-1 change), for neighbouring 1-px shifts)",
    ),
    Term(
        "stable",
        "stable images",
        "share",
        "The share of pictures whose answer no tried shift changes. It falls as more shifts are tried, so "
        "compare it only between reports with the same shifts.",
        "share of images where the unshifted view and all K shifted views have one top-1 class",
        AFC + " (adversarial consistency over all shifts of a grid)",
    ),
    Term(
        "max_flips",
        "flips at the worst shift",
        "share",
        "How often the answer changes at the one shift that hurts most. Only as trustworthy as the number of "
        "pictures seen under that shift: use `--shifts grid:STEP`, which moves all pictures alike, to look "
        "for a bad shift.",
        "max over shifts of the share of images whose top-1 class differs from the unshifted one",
        NONE,
    ),
    Term(
        "mean_abs_change",
        "change of probability",
        "number",
        "How much the probability of the model's first answer moves when the picture does. It sees trouble "
        "that has not yet flipped an answer. 0 is perfect; 0.05 means five percentage points on average.",
        "mean over images and shifts of |p_c(shifted) − p_c(unshifted)|, c the unshifted top-1 class",
        AZULAY,
    ),
    Term(
        "js_divergence",
        "Jensen-Shannon divergence",
        "number",
        "How far apart the whole list of class probabilities is before and after the move, not only the first"
        " answer. 0 means identical; the largest possible value is ln 2 = 0.693.",
        "mean of ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2, in nats",
        LIN,
    ),
    Term(
        "accuracy",
        "accuracy, unshifted",
        "share",
        "The share of labelled pictures that are answered rightly where they are.",
        "share of labelled images with top-1 = label on the unshifted view",
        NONE,
    ),
    Term(
        "accuracy_shifted",
        "accuracy, mean over shifts",
        "share",
        "The share of right answers over the shifted views. When it is clearly below the unshifted accuracy, "
        "the test set flatters the model: its pictures are better centred than life.",
        "mean over labelled images and shifts of [top-1(shifted) = label]",
        NONE,
    ),
    Term(
        "accuracy_worst",
        "accuracy, worst case",
        "share",
        "The share of labelled pictures that are answered rightly under every tried shift and unshifted: what"
        " is left when an adversary may choose how the picture is moved.",
        "share of labelled images where all K + 1 views have top-1 = label",
        AFC,
    ),
    Term(
        "consistency_correct",
        "consistency where right",
        "share",
        "Consistency over the pictures whose unshifted answer is right. Flips here cost accuracy.",
        "consistency over images with top-1(unshifted) = label",
        NONE,
    ),
    Term(
        "consistency_incorrect",
        "consistency where wrong",
        "share",
        "Consistency over the pictures whose unshifted answer is wrong. Usually far lower: a model in doubt "
        "is easily moved.",
        "consistency over images with top-1(unshifted) ≠ label",
        NONE,
    ),
)

TERMS: tuple[Term, ...] = (
    Term(
        "equivariance_error",
        "equivariance error",
        "number",
        "Features of the moved picture should be the moved features. The error says how far from that a stage"
        " is: 0 means the features just move along (nothing aliases), 1 means they have nothing in common. It"
        " is given where features enter a stage and where they leave it; the difference is what the stage "
        "adds.",
        "1 − cos(T F(x), F(Tx)) per image over C×H×W, averaged; T is the fractional Fourier shift by (dy, "
        "dx)/stride under circular, and the overlap with bilinear interpolation under crop",
        ZHANG + " (internal feature distance), with a fractional shift instead of only whole-stride ones",
    ),
    Term(
        "shift",
        "shift (dy, dx)",
        "word",
        "A move of the picture by dy pixels down and dx pixels right, counted on the network's input; "
        "negative is up and left.",
        "(dy, dx) in input pixels",
        NONE,
    ),
    Term(
        "view",
        "view",
        "word",
        "One picture under one shift, as the network gets it. The unshifted view is the picture left where it was.",
        "(image, shift)",
        NONE,
    ),
    Term(
        "circular",
        "circular protocol",
        "word",
        "The picture is moved with wrap-around: what leaves on one side comes in on the other. No pixel is "
        "lost, so a network without aliasing and with circular padding would not notice at all.",
        "the S×S input rolled by (dy, dx)",
        APS,
    ),
    Term(
        "crop",
        "crop protocol",
        "word",
        "A window of the network's input size moves over a larger picture, so real pixels come in on one "
        "side, as when a camera moves. Closest to life; content near the border truly changes.",
        "an S×S window moved by (−dy, −dx) over the larger canvas",
        ZHANG,
    ),
    Term(
        "stage",
        "stage",
        "word",
        "One operation that makes the feature map smaller: a strided convolution, a pooling, a slicing. Only "
        "there can shift-equivariance break by aliasing. The final reduction to 1×1 is the head, not a stage.",
        "any operation with a spatially smaller 4-D output, larger than 1×1",
        NONE,
    ),
    Term(
        "stride",
        "stride",
        "word",
        "How many input pixels lie between neighbouring features; it multiplies from stage to stage. The "
        "layer stride is the factor of one stage alone. Shifts by a multiple of the stride are harmless to a "
        "circular network; others are not.",
        "input pixels per feature pixel, (y, x)",
        NONE,
    ),
    Term(
        "level",
        "level",
        "word",
        "All stages with the same cumulative stride, such as the main branch and the shortcut of one residual block.",
        "rank of the cumulative stride, 1 nearest the input",
        NONE,
    ),
    Term(
        "phase",
        "phase",
        "word",
        "Where a shift lands between the samples a stage keeps. Phase (0, 0) is a whole number of strides: "
        "the same samples are kept, so only padding can make a difference. The map of errors over phase shows"
        " the lattice of clean shifts.",
        "(dy mod stride, dx mod stride)",
        ZHANG,
    ),
    Term(
        "aliasing",
        "aliasing",
        "word",
        "Keeping every second value without smoothing first lets fine detail turn into false coarse detail, "
        "and which false detail depends on where the picture happens to lie. It is why a move of one pixel "
        "can change an answer.",
        "frequencies above half the sampling rate fold onto lower ones",
        ZHANG,
    ),
    Term(
        "blurpool",
        "BlurPool",
        "word",
        "A small fixed blur before samples are dropped. The filter size (1 to 7) says how wide: 1 is no blur "
        "at all, larger is smoother and more stable, and costs more sharpness. Even sizes move the sampling "
        "grid by half a pixel.",
        "depthwise binomial filter (rows of Pascal's triangle, outer product, sum 1), then stride",
        ZHANG,
    ),
    Term(
        "near_ties",
        "near ties",
        "word",
        "Predictions whose two best classes are practically equal (logits closer than 1e-4). Which of them "
        "wins can depend on rounding, so they are counted.",
        "#{predictions: largest logit − second largest < 1e-4}",
        NONE,
    ),
    Term(
        "degenerate",
        "degenerate",
        "word",
        "(Nearly) all pictures got one and the same answer. Such a model is perfectly consistent and "
        "perfectly useless; look for a wrong preprocessing or untrained weights before reading any other "
        "number.",
        "share of the most frequent unshifted answer is (nearly) 1",
        NONE,
    ),
    Term(
        "padding_check",
        "padding check",
        "word",
        "One more circular shift, by the network's total stride. Aliasing cancels there exactly, so answers "
        "that still change change because of padding at the image border, which a BlurPool cannot mend.",
        "share of images with top-1 changed at the shift (total stride, total stride)",
        NONE,
    ),
    Term(
        "interval",
        "95 % interval",
        "word",
        "The range in which the value would plausibly lie on other pictures of the same kind. Whole pictures "
        "are drawn anew, since shifts of one picture are not independent; where every picture agrees, or the "
        "outcome is yes or no, the Wilson interval is used.",
        "2.5 and 97.5 percentiles of a cluster bootstrap over images; Wilson for yes/no outcomes",
        "Efron & Tibshirani, An Introduction to the Bootstrap, 1993; " + WILSON,
    ),
)
