"""The models of agents: which provider, which key, and how they are asked."""
