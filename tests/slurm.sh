#!/usr/bin/env bash
# A real Slurm on this machine alone: slurm.sh start DIR | slurm.sh stop DIR
# It needs root and Debian's slurm-wlm and munge, listens on the loopback interface, and keeps all of its files in DIR.
# While it runs, /etc/slurm/slurm.conf leads to DIR/slurm.conf, so that jobs find it too. Memory limits are enforced.
set -euo pipefail
dir=$(realpath "$2") && node=$(hostname -s)

start() {
  if [ -e /etc/slurm/slurm.conf ]; then echo 'this machine belongs to a cluster already: /etc/slurm/slurm.conf' >&2; exit 3; fi
  mkdir -p "$dir"/{state,spool} && chmod 755 "$dir"
  [ -e "$dir/munge.key" ] || mungekey --create --keyfile "$dir/munge.key"
  chmod 400 "$dir/munge.key"
  munged --force --key-file "$dir/munge.key" --socket "$dir/munge.socket" --pid-file "$dir/munged.pid" \
    --log-file "$dir/munged.log" --seed-file "$dir/munged.seed"
  cat > "$dir/slurm.conf" <<EOF
ClusterName=xlt
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
SrunPortRange=26820-26920
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=3600
ReturnToService=2
MpiDefault=none
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
EOF
  mkdir -p /etc/slurm && ln -sfn "$dir/slurm.conf" /etc/slurm/slurm.conf
  slurmctld -c && slurmd -c
  for _ in $(seq 60); do
    if sinfo --noheader --format %T 2>/dev/null | grep -q idle; then exit 0; fi
    sleep 1
  done
  for log in "$dir"/slurm*.log; do tail -n 20 "$log" >&2; done; exit 1
}

stop() {
  for daemon in slurmd slurmctld munged; do
    if [ -s "$dir/$daemon.pid" ]; then kill "$(cat "$dir/$daemon.pid")" 2>/dev/null || true; fi
  done
  if [ "$(readlink /etc/slurm/slurm.conf)" = "$dir/slurm.conf" ]; then rm /etc/slurm/slurm.conf; fi
}

"$1"
