"""A real Slurm of one node, as root: without systemd, cgroups, accounting or a GPU."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
NEEDED = "a real Slurm needs root and Debian's packages slurm-wlm and munge"
AVAILABLE = not MISSING and hasattr(os, "getuid") and os.getuid() == 0

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,requeue_delay=0
ReturnToService=2
KillWait=5
MinJobAge=300
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@contextmanager
def slurm(folder: Path) -> Iterator[str]:
    """The path of its slurm.conf; all that was started is ended."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(host=host, folder=folder, ports=ports))
    env = {**os.environ, "SLURM_CONF": str(path)}
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    if subprocess.run(["munge", "-n"], capture_output=True).returncode:
        subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)
    daemons = [subprocess.Popen([name, "-D"], env=env, stderr=subprocess.DEVNULL) for name in ("slurmctld", "slurmd")]
    try:
        for _ in range(600):
            told = subprocess.run(["sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True)
            if "idle" in told.stdout:
                break
            time.sleep(0.1)
        assert "idle" in told.stdout, f"Slurm did not start: {told}; {(folder / 'slurmctld.log').read_text()[-2000:]}"
        yield str(path)
    finally:
        for daemon in daemons[::-1]:
            daemon.terminate()
            daemon.wait()
        for process in _with(f"SLURM_CONF={path}"):  # workers that outlived a training that was killed
            os.kill(process, signal.SIGKILL)


def _with(variable: str) -> list[int]:
    """Processes that have it in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            pass
    return found
