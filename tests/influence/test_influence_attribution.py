import pytest
import torch
import torch.nn.functional as F
from influence_cases import close, clusters
from torch import Tensor

from influence import LastLayerHessian, Samples, append_bias, loss_gradient, refit_head, upweight_influence
from influence.attribution import Attribution, attribute

CLASSES = 3


def problem(rows: int = 120, wrong: int = 0) -> tuple[Samples, Samples, Tensor]:
    """Training samples of which the first `wrong` are mislabelled, held-out samples, the true labels."""
    features, labels = clusters(rows, seed=0, spread=0.5)
    given = labels.clone()
    given[:wrong] = (given[:wrong] + 1) % CLASSES
    return Samples(features, given), Samples(*clusters(50, seed=1, spread=0.5)), labels


def scores_of(rows: int = 120, wrong: int = 0) -> Attribution:
    training, held_out, _ = problem(rows, wrong)
    return attribute(training, held_out, CLASSES)


DECAY = torch.full((7,), 0.03, dtype=torch.float64)


def standardised(training: Samples, held_out: Samples) -> tuple[Samples, Samples]:
    """The features as the head is refitted on them."""
    mean = training.features.mean(dim=0)
    scale = (training.features - mean).square().mean().sqrt()
    return tuple(Samples((s.features - mean) / scale, s.targets) for s in (training, held_out))  # type: ignore[return-value]


def refits(training: Samples) -> tuple[Tensor, list[Tensor]]:
    """The head of all samples, and the heads fitted without each."""
    full = refit_head(training, CLASSES, weight_decay=DECAY)
    heads = []
    for index in range(len(training.targets)):
        weights = torch.ones(len(training.targets), dtype=torch.float64)
        weights[index] = 0
        heads.append(refit_head(training, CLASSES, weight_decay=DECAY, weights=weights, initial=full))
    return full, heads


def losses(head: Tensor, samples: Samples) -> Tensor:
    return F.cross_entropy(append_bias(samples.features) @ head.T, samples.targets, reduction="none")


def test_influence_is_that_of_the_objectives_at_the_refitted_head() -> None:
    scores = scores_of()
    training, held_out = standardised(*problem()[:2])
    head = refit_head(training, CLASSES, weight_decay=DECAY)
    logits = append_bias(training.features) @ head.T
    dense = LastLayerHessian(training.features, logits, damping=0.0, weight_decay=DECAY).dense()
    gradient = loss_gradient(held_out.features, append_bias(held_out.features) @ head.T, held_out.targets)
    solved = torch.linalg.solve(dense, gradient.flatten()).view_as(gradient)
    close(scores.influence, upweight_influence(solved, training.features, logits, training.targets), 1e-4)


def test_influence_predicts_what_removal_does_to_the_held_out_loss() -> None:
    scores = scores_of(wrong=4)
    training, held_out = standardised(*problem(wrong=4)[:2])
    full, heads = refits(training)
    actual = torch.stack([(losses(head, held_out) - losses(full, held_out)).mean() for head in heads])
    assert float(torch.corrcoef(torch.stack([-scores.influence / 120, actual]))[0, 1]) > 0.98
    assert int(scores.influence.argmax()) == int(actual.argmin())  # the most harmful one


def test_mislabel_score_is_the_loss_of_a_head_refitted_without_the_sample() -> None:
    scores = scores_of(wrong=4)
    training, _ = standardised(*problem(wrong=4)[:2])
    _, heads = refits(training)
    actual = torch.stack([losses(head, training)[index] for index, head in enumerate(heads)])
    assert float(torch.corrcoef(torch.stack([scores.mislabel, actual]))[0, 1]) > 0.999
    assert float((scores.mislabel - actual).abs().max()) < 0.05 * float(actual.max())
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


def test_wrong_labels_that_the_head_has_memorised_are_found() -> None:
    """With more features than samples the head fits every label; left out, each gets its true label back."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    signal = (2.0 * labels - 1)[:, None] + 0.3 * torch.randn(80, 1, generator=generator)
    noise = 0.3 * torch.randn(80, 200, generator=generator)
    given = labels.clone()
    given[:8] = 1 - given[:8]
    training = Samples(torch.cat([3 * signal, noise], dim=1).double(), given)
    head = refit_head(standardised(training, training)[0], 2, weight_decay=torch.full((202,), 0.03))
    assert float(losses(head, standardised(training, training)[0]).max()) < 0.69  # every given label is predicted
    scores = attribute(training, training, 2)
    assert set(scores.mislabel.argsort(descending=True)[:8].tolist()) == set(range(8))
    assert torch.equal(scores.suggested[:8], labels[:8])


def test_order_of_the_samples_does_not_matter() -> None:
    training, held_out, _ = problem(wrong=4)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    scores = attribute(training, held_out, CLASSES)
    shuffled = attribute(Samples(*(part[order] for part in training)), Samples(*(p.flip(0) for p in held_out)), CLASSES)
    close(shuffled.mislabel, scores.mislabel[order], 1e-5)
    close(shuffled.influence, scores.influence[order], 1e-4)
    close(shuffled.self_influence, scores.self_influence[order], 1e-4)
    assert torch.equal(shuffled.suggested, scores.suggested[order])


def test_scale_and_origin_of_the_features_do_not_matter() -> None:
    training, held_out, _ = problem(wrong=4)
    moved = [Samples(1e3 * s.features - 50, s.targets) for s in (training, held_out)]
    close(attribute(moved[0], moved[1], CLASSES).mislabel, attribute(training, held_out, CLASSES).mislabel, 1e-5)


def test_float32_and_progress() -> None:
    training, held_out, _ = problem(rows=1100)
    done: list[int] = []
    single = [Samples(s.features.float(), s.targets) for s in (training, held_out)]
    scores = attribute(single[0], single[1], CLASSES, on_rows=done.append)
    assert len(done) > 1
    assert sum(done) == 1100
    close(scores.mislabel, attribute(training, held_out, CLASSES).mislabel, 1e-4)


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
        attribute(change(training), held_out, CLASSES)  # type: ignore[operator]
