# Tables and verdicts of `scripts/starter-table`, from lines GROUP ROW SHOTS SEED and three numbers.

{
    key = $1 SUBSEP $2 SUBSEP $3
    n[key]++
    for (i = 1; i <= 3; i++) {
        sum[key, i] += $(4 + i)
        squares[key, i] += $(4 + i) ^ 2
    }
}

function mean(group, row, shots, i) { return sum[group, row, shots, i] / n[group, row, shots] }

function has(group, row, shots) { return (group, row, shots) in n }

# Mean and sample deviation; one value has none.
function cell(group, row, shots, i,    count, mu, variance) {
    count = n[group, row, shots]
    mu = mean(group, row, shots, i)
    if (count < 2) return sprintf("%.3f", mu)
    variance = (squares[group, row, shots, i] - count * mu * mu) / (count - 1)
    return sprintf("%.3f ± %.3f", mu, sqrt(variance > 0 ? variance : 0))
}

function table(group, title,    lines, r, s, shots) {
    lines = 0
    for (r = 1; r <= n_rows; r++)
        for (s = 1; s <= 3; s++) {
            shots = shots_of[s]
            if (!has(group, rows[r], shots)) continue
            if (!lines++) {
                printf "\n### %s\n\n", title
                print "| pipeline | shots | n | image AUROC | pixel AUROC | AUPRO@0.3 |"
                print "|---|---|---|---|---|---|"
            }
            printf "| %s | %d | %d | %s | %s | %s |\n", about[rows[r]], shots, n[group, rows[r], shots],
                cell(group, rows[r], shots, 1), cell(group, rows[r], shots, 2), cell(group, rows[r], shots, 3)
        }
}

function verdict(what, wanted, got, good) {
    if (!n_verdicts++) {
        print "\n### Held to\n"
        print "| figure | wanted | got | |"
        print "|---|---|---|---|"
    }
    printf "| %s | %s | %.3f | %s |\n", what, wanted, got, (good ? "met" : "**missed**")
}

function at_least(what, got, want) { verdict(what, sprintf(">= %.2f", want), got, got >= want) }

function near(what, got, want, within) {
    verdict(what, sprintf("%.3f +- %.2f", want, within), got, got - want <= within && want - got <= within)
}

# The larger mean of the two raw baselines.
function raw(group, shots, i,    a, b) {
    a = mean(group, "raw-token-grid", shots, i)
    b = mean(group, "raw-24", shots, i)
    return a > b ? a : b
}

function held_to(group, light,    i) {
    split("0.88 0.92 0.75", zero, " ")
    split("0.93 0.95 0.86", both, " ")
    for (i = 1; i <= 3; i++)
        if (has(group, "zero-shot", 0)) at_least("zero-shot " metric[i] ", " light, mean(group, "zero-shot", 0, i), zero[i])
    for (i = 1; i <= 3; i++)
        if (has(group, "both", 1)) at_least("both, 1 shot, " metric[i] ", " light, mean(group, "both", 1, i), both[i])
}

function margins(group,    has_raw) {
    has_raw = has(group, "raw-24", 1) && has(group, "raw-token-grid", 1)
    if (!has_raw || !has(group, "both", 1)) return
    at_least("both less the better raw, 1 shot, image AUROC, light varies", mean(group, "both", 1, 1) - raw(group, 1, 1), 0.05)
    at_least("both less the better raw, 1 shot, AUPRO@0.3, light varies", mean(group, "both", 1, 3) - raw(group, 1, 3), 0.10)
}

function controls(group, light,    i) {
    for (i = 1; i <= 2; i++) {
        if (has(group, "exchanged", 0) && has(group, "class-token", 0))
            near("sentences exchanged, " metric[i] ", " light, mean(group, "exchanged", 0, i), 1 - mean(group, "class-token", 0, i), 0.01)
        if (has(group, "nothing", 0))
            near("sentences about nothing, " metric[i] ", " light, mean(group, "nothing", 0, i), 0.5, 0.03)
        if (has(group, "nothing-unseen", 0))
            near("sentences about nothing in unknown words, " metric[i] ", " light, mean(group, "nothing-unseen", 0, i), 0.5, 0.03)
    }
}

# AUPRO@0.3 on real tiles against what learned nothing there.
function tiles(group, row, shots, other) {
    if (has(group, row, shots) && has(group, other, shots))
        at_least(sprintf("magnetic tile, %d shots, AUPRO@0.3, %s less %s", shots, row, other),
            mean(group, row, shots, 3) - mean(group, other, shots, 3), 0)
}

BEGIN {
    split("0 1 4", shots_of, " ")
    metric[1] = "image AUROC"; metric[2] = "pixel AUROC"; metric[3] = "AUPRO@0.3"
    n_rows = split("zero-shot memory both memory-tap4 both-tap4 class-token exchanged nothing nothing-unseen random-zero-shot random-memory random-both raw-token-grid raw-24 gabor", rows, " ")
    about["zero-shot"] = "words alone"
    about["memory"] = "references alone"
    about["both"] = "both branches"
    about["memory-tap4"] = "references alone, block 4"
    about["both-tap4"] = "both branches, references on block 4"
    about["class-token"] = "words alone, image score from the class token"
    about["exchanged"] = "the same, sentences exchanged"
    about["nothing"] = "words alone, sentences about nothing"
    about["nothing-unseen"] = "words alone, sentences about nothing in unknown words"
    about["random-zero-shot"] = "random weights, words alone"
    about["random-memory"] = "random weights, references alone"
    about["random-both"] = "random weights, both branches"
    about["raw-token-grid"] = "mean and deviation of colours, 16 x 16"
    about["raw-24"] = "mean and deviation of colours, 24 x 24"
    about["gabor"] = "18 Gabor filters"
}

END {
    table("light-0", "Held-out families, steady light")
    table("light-1", "Held-out families, light varies")
    table("magnetic-tile", "Magnetic tile")
    held_to("light-0", "steady light")
    held_to("light-1", "light varies")
    margins("light-1")
    controls("light-0", "steady light")
    controls("light-1", "light varies")
    split("memory both", ours, " ")
    split("raw-token-grid raw-24 gabor", others, " ")
    for (s = 2; s <= 3; s++)
        for (o = 1; o <= 2; o++) {
            tiles("magnetic-tile", ours[o], shots_of[s], "random-" ours[o])
            for (b = 1; b <= 3; b++) tiles("magnetic-tile", ours[o], shots_of[s], others[b])
        }
}
