"""The simulation: the whole engine under seeded faults, against a model that says in plain Python what it means.

programs   a rules file drawn from the seed         traffic    events, and everything else a client may ask for
scenario   one seed, from the start to the replay   comparison what the engine shows against what the model says
model/     the model

make simulate SEEDS=5000        make simulate SEED=1234
"""
