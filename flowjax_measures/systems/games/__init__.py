from ._game import Game as Game
