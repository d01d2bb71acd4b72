from exportfs.simulator.command import simulate

simulate(prog_name="python -m exportfs.simulator")
