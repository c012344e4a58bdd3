import math

import pytest
import torch
import torch.nn.functional as F
from influence_cases import close, clusters
from refitted_changes import left_out_heads
from torch import Tensor

from influence import LastLayerHessian, Samples, append_bias, loss_gradient, refit_head, upweight_influence
from influence.attribution import Attribution, attribute

CLASSES = 3


def problem(rows: int = 120, wrong: int = 0) -> tuple[Samples, Samples, Tensor]:
    """Training samples of which the first `wrong` are mislabeled, held-out samples, the true labels."""
    features, labels = clusters(rows, seed=0, spread=0.5)
    given = labels.clone()
    given[:wrong] = (given[:wrong] + 1) % CLASSES
    return Samples(features, given), Samples(*clusters(50, seed=1, spread=0.5)), labels


def unsure(samples: Samples, classes: int = CLASSES) -> Tensor:
    """Logits of a network that knows nothing: its loss is log K everywhere."""
    return torch.zeros(len(samples.targets), classes, dtype=torch.float64)


def scores_of(rows: int = 120, wrong: int = 0) -> Attribution:
    training, held_out, _ = problem(rows, wrong)
    return attribute(training, unsure(training), held_out)


DECAY = torch.full((7,), 0.01, dtype=torch.float64)


def standardized(training: Samples, held_out: Samples) -> tuple[Samples, Samples]:
    """The features as the head is refitted on them."""
    mean = training.features.mean(dim=0)
    scale = (training.features - mean).square().mean().sqrt()
    return tuple(Samples((s.features - mean) / scale, s.targets) for s in (training, held_out))  # type: ignore[return-value]


def refits(training: Samples) -> tuple[Tensor, list[Tensor]]:
    """The head of all samples, and the heads fitted without each."""
    full = refit_head(training, CLASSES, weight_decay=DECAY)
    return full, left_out_heads(training, full, DECAY)


def losses(head: Tensor, samples: Samples) -> Tensor:
    return F.cross_entropy(append_bias(samples.features) @ head.T, samples.targets, reduction="none")


def test_influence_is_that_of_the_objectives_at_the_refitted_head() -> None:
    scores = scores_of()
    training, held_out = standardized(*problem()[:2])
    head = refit_head(training, CLASSES, weight_decay=DECAY)
    logits = append_bias(training.features) @ head.T
    dense = LastLayerHessian(training.features, logits, damping=0.0, weight_decay=DECAY).dense()
    gradient = loss_gradient(held_out.features, append_bias(held_out.features) @ head.T, held_out.targets)
    solved = torch.linalg.solve(dense, gradient.flatten()).view_as(gradient)
    close(scores.influence, upweight_influence(solved, training.features, logits, training.targets), 1e-4)


def test_influence_predicts_what_removal_does_to_the_held_out_loss() -> None:
    scores = scores_of(wrong=4)
    training, held_out = standardized(*problem(wrong=4)[:2])
    full, heads = refits(training)
    actual = torch.stack([(losses(head, held_out) - losses(full, held_out)).mean() for head in heads])
    assert float(torch.corrcoef(torch.stack([-scores.influence / 120, actual]))[0, 1]) > 0.98
    assert int(scores.influence.argmax()) == int(actual.argmin())  # the most harmful one


def test_mislabel_score_holds_the_loss_of_a_head_refitted_without_the_sample() -> None:
    scores = scores_of(wrong=4)
    training, _ = standardized(*problem(wrong=4)[:2])
    _, heads = refits(training)
    actual = torch.stack([losses(head, training)[index] for index, head in enumerate(heads)])
    left_out = 2 * scores.mislabel - math.log(CLASSES)
    assert float(torch.corrcoef(torch.stack([left_out, actual]))[0, 1]) > 0.99
    assert float((left_out - actual).abs().max()) < 0.15 * float(actual.max())
    predictions = [int((append_bias(training.features) @ head.T)[index].argmax()) for index, head in enumerate(heads)]
    assert scores.suggested.tolist() == predictions


def test_wrong_labels_come_first_and_get_their_true_label_back() -> None:
    _, _, truth = problem(wrong=6)
    scores = scores_of(wrong=6)
    assert set(scores.mislabel.argsort(descending=True)[:6].tolist()) == set(range(6))
    assert torch.equal(scores.suggested[:6], truth[:6])
    assert scores.self_influence[:6].median() > 5 * scores.self_influence[6:].median()
    assert bool((scores.self_influence >= 0).all())
    assert bool((scores.influence[:6] > 0).all())  # harmful


def test_wrong_labels_that_the_head_has_memorized_are_found() -> None:
    """With more features than samples the head fits every label; left out, each gets its true label back."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    signal = (2.0 * labels - 1)[:, None] + 0.3 * torch.randn(80, 1, generator=generator)
    noise = 0.3 * torch.randn(80, 200, generator=generator)
    given = labels.clone()
    given[:8] = 1 - given[:8]
    training = Samples(torch.cat([3 * signal, noise], dim=1).double(), given)
    head = refit_head(standardized(training, training)[0], 2, weight_decay=torch.full((202,), 0.01))
    assert float(losses(head, standardized(training, training)[0]).max()) < 0.69  # every given label is predicted
    scores = attribute(training, unsure(training, 2), training)
    assert set(scores.mislabel.argsort(descending=True)[:8].tolist()) == set(range(8))
    assert torch.equal(scores.suggested[:8], labels[:8])


def test_order_of_the_samples_does_not_matter() -> None:
    training, held_out, _ = problem(wrong=4)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    logits = torch.randn(120, CLASSES, generator=torch.Generator().manual_seed(2))
    scores = attribute(training, logits, held_out)
    reordered = Samples(*(part[order] for part in training)), logits[order], Samples(*(p.flip(0) for p in held_out))
    shuffled = attribute(*reordered)
    close(shuffled.mislabel, scores.mislabel[order], 1e-5)
    close(shuffled.influence, scores.influence[order], 1e-4)
    close(shuffled.self_influence, scores.self_influence[order], 1e-4)
    assert torch.equal(shuffled.suggested, scores.suggested[order])


def test_scale_and_origin_of_the_features_do_not_matter() -> None:
    training, held_out, _ = problem(wrong=4)
    moved = [Samples(1e3 * s.features - 50, s.targets) for s in (training, held_out)]
    expected = attribute(training, unsure(training), held_out).mislabel
    close(attribute(moved[0], unsure(training), moved[1]).mislabel, expected, 1e-5)


def test_mislabel_score_is_the_mean_with_the_loss_of_the_network() -> None:
    training, held_out, _ = problem(wrong=4)
    logits = torch.randn(120, CLASSES, generator=torch.Generator().manual_seed(0))
    alone, both = (attribute(training, z, held_out) for z in (unsure(training), logits))
    loss = F.cross_entropy(logits, training.targets, reduction="none").double()
    close(both.mislabel - alone.mislabel, (loss - math.log(CLASSES)) / 2, 1e-6)
    assert torch.equal(both.suggested, alone.suggested)  # a network that has memorized a label suggests it
    close(both.influence, alone.influence)


def test_views_give_the_mislabel_score_and_nothing_else() -> None:
    training, held_out, _ = problem(wrong=4)
    views = training.features + 0.3 * torch.randn(120, 6, generator=torch.Generator().manual_seed(0)).double()
    alone = attribute(training, unsure(training), held_out)
    of_views = attribute(Samples(views, training.targets), unsure(training), held_out)
    both = attribute(training, unsure(training), held_out, views=views)
    close(both.mislabel, of_views.mislabel)
    assert torch.equal(both.suggested, of_views.suggested)
    close(both.influence, alone.influence)
    close(both.self_influence, alone.self_influence)


def test_float32_and_progress() -> None:
    training, held_out, _ = problem(rows=1100)
    done: list[int] = []
    single = [Samples(s.features.float(), s.targets) for s in (training, held_out)]
    scores = attribute(single[0], unsure(training).float(), single[1], views=single[0].features, on_rows=done.append)
    assert len(done) > 2
    assert sum(done) == 2 * 1100
    close(scores.mislabel, attribute(training, unsure(training), held_out).mislabel, 1e-4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: Samples(s.features, F.one_hot(s.targets, 3).double()), TypeError, "training labels .N. int64"),
        (lambda s: Samples(s.features, s.targets + 1), ValueError, r"labels in \[0, 3\), found \[1, 3\]"),
        (lambda s: Samples(s.features[:, 0], s.targets), ValueError, r"training features \[N, D\]"),
        (lambda s: Samples(s.features[:0], s.targets[:0]), ValueError, "N >= 1"),
        (lambda s: Samples(s.features[:, :-1], s.targets), ValueError, "5 in training and 6 held out"),
        (lambda s: Samples(s.features * float("nan"), s.targets), ValueError, "finite training features"),
        (lambda s: Samples(torch.ones_like(s.features), s.targets), ValueError, "features that vary"),
        (lambda s: Samples(s.features, s.targets[1:]), ValueError, "120"),
    ],
)
def test_errors(change: object, error: type[Exception], message: str) -> None:
    training, held_out, _ = problem()
    with pytest.raises(error, match=message):
        attribute(change(training), unsure(training), held_out)  # type: ignore[operator]


def test_logits_that_do_not_match_are_an_error() -> None:
    training, held_out, _ = problem()
    with pytest.raises(ValueError, match="one logit row per feature row"):
        attribute(training, unsure(training)[1:], held_out)
    with pytest.raises(ValueError, match="finite logits"):
        attribute(training, unsure(training) / 0, held_out)


def test_views_of_other_samples_are_an_error() -> None:
    training, held_out, _ = problem()
    with pytest.raises(ValueError, match=r"expected views \[120, 6\], .* found \[119, 6\]"):
        attribute(training, unsure(training), held_out, views=training.features[1:])
