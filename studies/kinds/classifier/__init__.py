"""Kind of study `classifier`: image classifiers that augment in different ways, on tasks whose change is known."""

from studies.engine import Kind
from studies.kinds.classifier.report import ClassifierReport
from studies.kinds.classifier.run import ClassifierRun

KIND = Kind(ClassifierRun, ClassifierReport)

__all__ = ["KIND", "ClassifierReport", "ClassifierRun"]
