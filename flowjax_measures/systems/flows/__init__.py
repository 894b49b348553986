from ._gradient_flow import GradientFlow as GradientFlow
from ._mckean_vlasov import McKeanVlasov as McKeanVlasov
