"""`haraka-accounting`, whose chores, janitor and summary have their turn every second."""

from worker import assembly, chores, cli, loop, schedule, timers

if __name__ == "__main__":
    vars(assembly)["EVERY_SECONDS"] = loop._SUMMARY_SECONDS = schedule.FIRST_SECONDS = 1
    chores.FIND_LOSSES_SECONDS = chores.TRIM_SECONDS = 1
    timers._LOOK_SECONDS = 0.5
    cli.main()
