"""Stochastic spiking neural networks with exact pathwise gradients, computed in Julia."""

from __future__ import annotations

from . import datasets, models, plotting
from .brian2 import from_brian2
from .builders import feedforward_weights, random_weights, recurrent_weights
from .count_losses import CountCrossEntropy, SpikeCountLoss
from .currents import ConstantCurrent, FormulaCurrent, InputCurrent, JuliaFunction, SampledCurrent
from .diagnosis import Diagnosis
from .diffusions import AffineDiffusion, ConstantDiffusion, Diffusion
from .engine.packages import install_sciml
from .errors import (
    JuliaError,
    LikelyMistakeWarning,
    NoGradientError,
    SSNNError,
    ValidationError,
    WorkerLostWarning,
)
from .expectations import SampleMean
from .formulas.event_sde import Event, EventSDE
from .gradients import DiscontinuousStepWarning, PathwiseGradientWarning, value_and_grad
from .intensities import ExponentialIntensity, FormulaIntensity, Intensity, ThresholdIntensity
from .latency_losses import FirstSpikeCrossEntropy
from .losses import ExpectedSignatureLoss, FirstSpikeLoss, Loss, LossValue, SignatureMMD
from .multilevel import Level, MultilevelEstimate, multilevel
from .network import Network
from .optimizers import SGD, Adam, RMSProp, piecewise_constant
from .poisson import poisson_trains
from .potential_losses import PotentialLoss, SumLoss
from .recommendation import Recommendation, SolverChoice, recommend_solver
from .saving import load, save
from .signature_kernels import (
    SignatureKernel,
    TwoSampleTest,
    median_scales,
    signature_kernel,
    signature_kernel_backprop,
    signature_kernel_gram,
    signature_kernel_gram_backprop,
    signature_mmd,
    signature_mmd_backprop,
    two_sample_test,
)
from .signatures import expected_signature, expected_signature_backprop, signature, signature_backprop
from .simulation import Solution, simulate
from .slif import SLIFNetwork
from .solvers import SolverInfo, solvers
from .spike_trains import PSTH, Rates, SpikeTrains
from .synapses import SpikeInput
from .training import DivergedError, FitResult, TrainingInterrupted, fit

__version__ = "0.1.0"

__all__ = [
    "PSTH",
    "SGD",
    "Adam",
    "AffineDiffusion",
    "ConstantCurrent",
    "ConstantDiffusion",
    "CountCrossEntropy",
    "Diagnosis",
    "Diffusion",
    "DiscontinuousStepWarning",
    "DivergedError",
    "Event",
    "EventSDE",
    "ExpectedSignatureLoss",
    "ExponentialIntensity",
    "FirstSpikeCrossEntropy",
    "FirstSpikeLoss",
    "FitResult",
    "FormulaCurrent",
    "FormulaIntensity",
    "InputCurrent",
    "Intensity",
    "JuliaError",
    "JuliaFunction",
    "Level",
    "LikelyMistakeWarning",
    "Loss",
    "LossValue",
    "MultilevelEstimate",
    "Network",
    "NoGradientError",
    "PathwiseGradientWarning",
    "PotentialLoss",
    "RMSProp",
    "Rates",
    "Recommendation",
    "SLIFNetwork",
    "SSNNError",
    "SampleMean",
    "SampledCurrent",
    "SignatureKernel",
    "SignatureMMD",
    "Solution",
    "SolverChoice",
    "SolverInfo",
    "SpikeCountLoss",
    "SpikeInput",
    "SpikeTrains",
    "SumLoss",
    "ThresholdIntensity",
    "TrainingInterrupted",
    "TwoSampleTest",
    "ValidationError",
    "WorkerLostWarning",
    "datasets",
    "expected_signature",
    "expected_signature_backprop",
    "feedforward_weights",
    "fit",
    "from_brian2",
    "install_sciml",
    "load",
    "median_scales",
    "models",
    "multilevel",
    "piecewise_constant",
    "plotting",
    "poisson_trains",
    "random_weights",
    "recommend_solver",
    "recurrent_weights",
    "save",
    "signature",
    "signature_backprop",
    "signature_kernel",
    "signature_kernel_backprop",
    "signature_kernel_gram",
    "signature_kernel_gram_backprop",
    "signature_mmd",
    "signature_mmd_backprop",
    "simulate",
    "solvers",
    "two_sample_test",
    "value_and_grad",
]
