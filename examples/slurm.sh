#!/usr/bin/env bash
# torchbce train on several machines under SLURM: sbatch examples/slurm.sh
# A job that is preempted or reaches its time is sent SIGTERM, put into the queue again, and goes on where it was.
#SBATCH --job-name=torchbce
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1  # a process for each core

srun torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" \
    --nproc-per-node "$SLURM_CPUS_PER_TASK" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$first:29500" \
    --rdzv-id "$SLURM_JOB_ID" \
    --max-restarts 3 \
    -m torchbce train table.parquet --target y --out run --resume --checkpoint 1m
