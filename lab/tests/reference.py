"""What SciPy makes of results: one JSON object on standard output, by figure, for the test beside this file.

Usage: reference.py results.csv. It computes nothing itself but Holm's correction and Cohen's d, which SciPy has not.
"""

import csv
import itertools
import json
import math
import sys

import numpy
from scipy import stats


def holm(p):
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        highest = min(1.0, max(highest, (len(p) - rank) * p[at]))
        adjusted[at] = highest
    return adjusted


def summary(values):
    mean, std, count = numpy.mean(values), numpy.std(values, ddof=1), len(values)
    low, high = stats.t.interval(0.95, count - 1, loc=mean, scale=std / math.sqrt(count))
    normality = stats.shapiro(values)
    return {
        "count": count,
        "mean": mean,
        "std": std,
        "min": min(values),
        "median": numpy.median(values),
        "p95": numpy.percentile(values, 95),
        "max": max(values),
        "low": low,
        "high": high,
        "w": normality.statistic,
        "normal_p": normality.pvalue,
    }


def pair(first, second):
    welch = stats.ttest_ind(first, second, equal_var=False)
    ranks = stats.mannwhitneyu(first, second, alternative="two-sided", method="auto")
    n, m = len(first), len(second)
    squares = (n - 1) * numpy.var(first, ddof=1) + (m - 1) * numpy.var(second, ddof=1)
    return {
        "t": welch.statistic,
        "freedom": welch.df,
        "welch_p": welch.pvalue,
        "cohen_d": (numpy.mean(first) - numpy.mean(second)) / math.sqrt(squares / (n + m - 2)),
        "u": ranks.statistic,
        "ranks_p": ranks.pvalue,
    }


def comparison(groups):
    samples = list(groups.values())
    anova, ranks = stats.f_oneway(*samples), stats.kruskal(*samples)
    variances = stats.levene(*samples, center="median")
    everything = numpy.concatenate(samples)
    within = sum(((numpy.asarray(sample) - numpy.mean(sample)) ** 2).sum() for sample in samples)
    pairs = [pair(first, second) for first, second in itertools.combinations(samples, 2)]
    for name in "welch", "ranks":
        for one, adjusted in zip(pairs, holm([one[name + "_p"] for one in pairs])):
            one[name + "_holm"] = adjusted
    return {
        "names": list(groups),
        "groups": [summary(sample) for sample in samples],
        "f": anova.statistic,
        "f_p": anova.pvalue,
        "eta_squared": 1 - within / ((everything - everything.mean()) ** 2).sum(),
        "h": ranks.statistic,
        "h_p": ranks.pvalue,
        "variances_f": variances.statistic,
        "variances_p": variances.pvalue,
        "pairs": pairs,
    }


with open(sys.argv[1], newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))


def groups(column, by, runs):
    found = {}
    for row in rows:
        if int(row["run_id"]) <= runs:
            found.setdefault(row[by], []).append(float(row[column]))
    return found


json.dump(
    {
        "recovery": comparison(groups("recovery_time_seconds", "config_name", 1000)),
        "recovery_by_strategy": comparison(groups("recovery_time_seconds", "strategy", 1000)),
        # So few that ranks are counted out, not approximated, and the test of normality has its other formula.
        "recovery_of_five": comparison(groups("recovery_time_seconds", "config_name", 5)),
        "store": comparison(groups("store_time_seconds", "config_name", 1000)),
    },
    sys.stdout,
    default=float,
)
