"""Stochastic spiking neural networks with exact pathwise gradients, computed in Julia."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import datasets, models, plotting
from .brian2 import from_brian2
from .builders import feedforward_weights, random_weights, recurrent_weights
from .count_losses import CountCrossEntropy, SpikeCountLoss
from .currents import ConstantCurrent, FormulaCurrent, InputCurrent, JuliaFunction, SampledCurrent
from .diagnosis import Diagnosis
from .diffusions import AffineDiffusion, ConstantDiffusion, Diffusion
from .drivers import (
    BrownianMotion,
    Driver,
    ExponentialJumps,
    FractionalBrownianMotion,
    GivenJumps,
    JumpProcess,
    NormalJumps,
    SampledPath,
)
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
from .goodness_of_fit import GoodnessOfFit, NeuronFit, goodness_of_fit
from .gradients import DiscontinuousStepWarning, PathwiseGradientWarning, value_and_grad
from .intensities import ExponentialIntensity, FormulaIntensity, Intensity, ThresholdIntensity
from .latency_losses import FirstSpikeCrossEntropy
from .likelihoods import LogLikelihood, NegativeLogLikelihood, log_likelihood
from .losses import ExpectedSignatureLoss, FirstSpikeLoss, Loss, LossValue, SignatureMMD
from .maximum_likelihood import MaximumLikelihood, Profile, maximum_likelihood
from .multilevel import Level, MultilevelEstimate, multilevel
from .network import Network
from .optimizers import SGD, Adam, RMSProp, piecewise_constant
from .planning import Estimate, estimate
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
from .spike_trains import PSTH, Rates, SpikeTrains, observed_windows
from .stored_runs import StoredRun, record
from .synapses import SpikeInput
from .training import DivergedError, FitResult, TrainingInterrupted, fit

if TYPE_CHECKING:
    from .estimator import SpikeTrainModel as SpikeTrainModel

__version__ = "0.1.0"

__all__ = [
    "PSTH",
    "SGD",
    "Adam",
    "AffineDiffusion",
    "BrownianMotion",
    "ConstantCurrent",
    "ConstantDiffusion",
    "CountCrossEntropy",
    "Diagnosis",
    "Diffusion",
    "DiscontinuousStepWarning",
    "DivergedError",
    "Driver",
    "Estimate",
    "Event",
    "EventSDE",
    "ExpectedSignatureLoss",
    "ExponentialIntensity",
    "ExponentialJumps",
    "FirstSpikeCrossEntropy",
    "FirstSpikeLoss",
    "FitResult",
    "FormulaCurrent",
    "FormulaIntensity",
    "FractionalBrownianMotion",
    "GivenJumps",
    "GoodnessOfFit",
    "InputCurrent",
    "Intensity",
    "JuliaError",
    "JuliaFunction",
    "JumpProcess",
    "Level",
    "LikelyMistakeWarning",
    "LogLikelihood",
    "Loss",
    "LossValue",
    "MaximumLikelihood",
    "MultilevelEstimate",
    "NegativeLogLikelihood",
    "Network",
    "NeuronFit",
    "NoGradientError",
    "NormalJumps",
    "PathwiseGradientWarning",
    "PotentialLoss",
    "Profile",
    "RMSProp",
    "Rates",
    "Recommendation",
    "SLIFNetwork",
    "SSNNError",
    "SampleMean",
    "SampledCurrent",
    "SampledPath",
    "SignatureKernel",
    "SignatureMMD",
    "Solution",
    "SolverChoice",
    "SolverInfo",
    "SpikeCountLoss",
    "SpikeInput",
    "SpikeTrains",
    "StoredRun",
    "SumLoss",
    "ThresholdIntensity",
    "TrainingInterrupted",
    "TwoSampleTest",
    "ValidationError",
    "WorkerLostWarning",
    "datasets",
    "estimate",
    "expected_signature",
    "expected_signature_backprop",
    "feedforward_weights",
    "fit",
    "from_brian2",
    "goodness_of_fit",
    "install_sciml",
    "load",
    "log_likelihood",
    "maximum_likelihood",
    "median_scales",
    "models",
    "multilevel",
    "observed_windows",
    "piecewise_constant",
    "plotting",
    "poisson_trains",
    "random_weights",
    "recommend_solver",
    "record",
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


def __getattr__(name: str) -> Any:
    # scikit-learn is neither needed nor loaded by anything else.
    if name == "SpikeTrainModel":
        from .estimator import SpikeTrainModel

        return SpikeTrainModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
