"""The patches of a photograph cluster by self-attention.

The same as `python -m flowjax_measures`.
"""

from flowjax_measures._cli._quickstart import main

if __name__ == "__main__":
    main()
