from ._accelerated_flow import AcceleratedFlow as AcceleratedFlow
from ._gradient_flow import GradientFlow as GradientFlow
from ._kinetic_flow import KineticFlow as KineticFlow
from ._localized_attraction import LocalizedAttraction as LocalizedAttraction
from ._mckean_vlasov import McKeanVlasov as McKeanVlasov
from ._parabolic_monge_ampere import ParabolicMongeAmpere as ParabolicMongeAmpere
from ._radial_interaction import RadialInteraction as RadialInteraction
from ._slice_matching import SliceMatching as SliceMatching, orthonormal_bases as orthonormal_bases
from ._swarming import Swarming as Swarming
