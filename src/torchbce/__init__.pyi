from . import functional as functional
from .checks.check_log import check_log as check_log
from .checks.check_loss import check_loss as check_loss
from .checks.check_model import check as check
from .checks.check_predictions import check_predictions as check_predictions
from .checks.findings import Report as Report
from .common.errors import InputError as InputError
from .common.errors import OutputError as OutputError
from .common.errors import RunFolderError as RunFolderError
from .engine.select import Engine as Engine
from .engine.select import engine_for as engine_for
from .explanation.explain import explain as explain
from .explanation.result import Explanation as Explanation
from .losses.asymmetric import AsymmetricLoss as AsymmetricLoss
from .losses.asymmetric import AsymmetricWithLogitsLoss as AsymmetricWithLogitsLoss
from .losses.asymmetric import asymmetric_loss as asymmetric_loss
from .losses.asymmetric import asymmetric_loss_with_logits as asymmetric_loss_with_logits
from .losses.bce import BCELoss as BCELoss
from .losses.bce_with_logits import BCEWithLogitsLoss as BCEWithLogitsLoss
from .losses.class_balanced import ClassBalancedLoss as ClassBalancedLoss
from .losses.class_balanced import class_balanced_loss_with_logits as class_balanced_loss_with_logits
from .losses.class_counts import class_weight_from as class_weight_from
from .losses.class_counts import pos_weight_from as pos_weight_from
from .losses.class_counts import prior_bias as prior_bias
from .losses.denominator import global_denominator as global_denominator
from .losses.distribution_balanced import DistributionBalancedLoss as DistributionBalancedLoss
from .losses.distribution_balanced import (
    distribution_balanced_loss_with_logits as distribution_balanced_loss_with_logits,
)
from .losses.focal import FocalLoss as FocalLoss
from .losses.focal import FocalWithLogitsLoss as FocalWithLogitsLoss
from .losses.focal import focal_loss as focal_loss
from .losses.focal import focal_loss_with_logits as focal_loss_with_logits
from .losses.fused_loss import fused_loss as fused_loss
from .losses.logit_adjusted import LogitAdjustedLoss as LogitAdjustedLoss
from .losses.logit_adjusted import logit_adjusted_loss_with_logits as logit_adjusted_loss_with_logits
from .losses.patch import Patch as Patch
from .losses.patch import patch as patch
from .losses.poly1 import Poly1Loss as Poly1Loss
from .losses.poly1 import Poly1WithLogitsLoss as Poly1WithLogitsLoss
from .losses.poly1 import poly1_loss as poly1_loss
from .losses.poly1 import poly1_loss_with_logits as poly1_loss_with_logits
from .losses.quality_focal import QualityFocalLoss as QualityFocalLoss
from .losses.quality_focal import QualityFocalWithLogitsLoss as QualityFocalWithLogitsLoss
from .losses.quality_focal import quality_focal_loss as quality_focal_loss
from .losses.quality_focal import quality_focal_loss_with_logits as quality_focal_loss_with_logits
from .losses.verify import verify as verify
from .monitor.epoch_bce import EpochBCE as EpochBCE
from .training.classifier import BCEClassifier as BCEClassifier
from .training.history import Epoch as Epoch
from .training.history import History as History
from .training.loop import fit as fit
from .training.run.saved import load as load

__version__: str
