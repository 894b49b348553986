from ._critic_game import critic_game as critic_game
from ._game import Game as Game
