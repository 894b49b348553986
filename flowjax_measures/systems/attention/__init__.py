from ._self_attention import SelfAttention as SelfAttention
