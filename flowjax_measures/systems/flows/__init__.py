from ._accelerated_flow import AcceleratedFlow as AcceleratedFlow
from ._cross_diffusion import CrossDiffusion as CrossDiffusion
from ._dean_kawasaki import DeanKawasaki as DeanKawasaki, mean_mobility as mean_mobility
from ._excluding_particles import ExcludingParticles as ExcludingParticles
from ._gradient_flow import GradientFlow as GradientFlow
from ._kinetic_flow import KineticFlow as KineticFlow
from ._localized_attraction import LocalizedAttraction as LocalizedAttraction
from ._massive_arratia import MassiveArratia as MassiveArratia
from ._mckean_vlasov import McKeanVlasov as McKeanVlasov
from ._parabolic_monge_ampere import ParabolicMongeAmpere as ParabolicMongeAmpere
from ._radial_interaction import RadialInteraction as RadialInteraction
from ._score_porous_medium import ScorePorousMedium as ScorePorousMedium
from ._slice_matching import SliceMatching as SliceMatching, orthonormal_bases as orthonormal_bases
from ._swarming import Swarming as Swarming
