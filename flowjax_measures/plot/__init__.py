"""Pictures of measures, runs and sweeps, drawn into `ax` and returned; needs the extra `plot`.

Without `ax` a figure is made; it is `ax.figure`. Further keywords go to matplotlib.
"""

from ._animation import animation as animation
from ._clusters import clusters as clusters
from ._curve import curve as curve, energy as energy
from ._measure import contours as contours, measure as measure
from ._phase_diagram import phase_diagram as phase_diagram
from ._sphere import sphere as sphere
from ._style import style as style
from ._summary import summary as summary
from ._trajectory import trajectory as trajectory
