"""Records what scikit-learn 1.9.1 and XGBoost 3.2.0 make of two clouds on the unit sphere.

    pip install numpy scikit-learn==1.9.1 xgboost==3.2.0
    python record_text_models.py            # writes text_models.json beside this file

The clouds look like sentences of two labels; the tokens stand a little aside of them, as image embeddings do. Rows are
whole numbers and are scaled to length 1 in float32, as the scorer scales what it is given.
"""

import json
import pathlib
import warnings

import numpy as np
import xgboost
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

WIDTH, N_NORMAL, N_ANOMALOUS, N_TOKENS = 32, 60, 100, 200
SEEDS = [42, 0, 1, 2, 3, 4, 5, 6]
REPEATS = 8


def clouds():
    random = np.random.default_rng(1)

    def direction():
        vector = random.normal(size=WIDTH)
        return vector / np.linalg.norm(vector)

    centre, between, aside = direction(), direction(), direction()

    def draw(n, anomalous, gap):
        noise = random.normal(size=(n, WIDTH)) * 0.6 / np.sqrt(WIDTH)
        return centre + 0.3 * gap * aside + 0.45 * (anomalous - 0.5) * between + noise

    def whole(rows):
        return np.round(rows / np.linalg.norm(rows, axis=1, keepdims=True) * 300).astype(int)

    rows = np.concatenate([draw(N_NORMAL, 0, 0), draw(N_ANOMALOUS, 1, 0)])
    tokens = np.concatenate([draw(N_TOKENS // 2, 0, 1), draw(N_TOKENS // 2, 1, 1)])
    labels = np.r_[np.zeros(N_NORMAL), np.ones(N_ANOMALOUS)].astype(int)
    token_labels = np.r_[np.zeros(N_TOKENS // 2), np.ones(N_TOKENS // 2)].astype(int)
    return whole(rows), labels, whole(tokens), token_labels


def unit(rows):
    norms = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
    return (rows.astype(np.float32) / norms[:, None]).astype(np.float64)


ROWS, LABELS, TOKENS, TOKEN_LABELS = clouds()
X, T = unit(ROWS), unit(TOKENS)
WEIGHTS = np.array([0.5, 1.0, 3.0])[np.arange(len(X)) % 3]


def scores(model, weights=None, x=X, y=LABELS):
    fitted = model.fit(x, y) if weights is None else model.fit(x, y, sample_weight=weights)
    return fitted.predict_proba(T)[:, 1]


def short(values, digits=9):
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, dtype=np.float64).ravel()]


def logistic():
    make = lambda c: LogisticRegression(solver="liblinear", C=c, tol=1e-13, max_iter=100000)
    return {
        "plain": short(scores(make(1.0)), 12),
        "weighted_c_20": short(scores(make(20.0), WEIGHTS), 12),
    }


def k_nearest():
    make = lambda k: KNeighborsClassifier(k, metric="cosine", weights="distance")
    own = make(5).fit(X, LABELS).predict_proba(X)[:, 1]
    return {"5": short(scores(make(5)), 12), "17": short(scores(make(17)), 12), "own_rows": short(own)}


def boosting():
    make = lambda **keys: xgboost.XGBClassifier(objective="binary:logistic", random_state=42, n_jobs=1, **keys)
    return {
        "plain": short(scores(make())),
        "weighted": short(scores(make(), WEIGHTS)),
        "bins_16": short(scores(make(max_bin=16))),
        "keys": short(scores(make(n_estimators=7, learning_rate=0.1, max_depth=3, reg_lambda=0.2, min_child_weight=3))),
    }


def mixture():
    """Of the anomalous sentences alone, from the groups that scikit-learn's own k-means starts with."""
    x = X[LABELS == 1]
    pca = PCA(n_components=0.9, random_state=42).fit(x)
    points = pca.transform(x)
    gmm = GaussianMixture(10, covariance_type="spherical", random_state=42).fit(points)
    groups = KMeans(10, n_init=1, random_state=np.random.RandomState(42)).fit(points).labels_
    again = GaussianMixture(10, covariance_type="spherical")
    again._initialize_parameters = lambda p, _rng, **_: again._initialize(p, np.eye(10)[groups])
    again.fit(points)
    assert np.array_equal(again.means_, gmm.means_), "these are not the groups it starts with"
    return {
        "pca_mean": short(pca.mean_),
        "pca_components": short(pca.components_),
        "groups": groups.tolist(),
        "rounds": gmm.n_iter_,
        "shares": short(gmm.weights_),
        "means": short(gmm.means_),
        "variances": short(gmm.covariances_),
        "token_log_densities": short(gmm.score_samples(pca.transform(T)), 12),
    }


def whole_mixture(seed):
    """As FADE runs it: a density per label, softmax of the log-likelihoods."""
    logs = []
    for label in (0, 1):
        pca = PCA(n_components=0.9, random_state=seed).fit(X[LABELS == label])
        gmm = GaussianMixture(10, covariance_type="spherical", random_state=seed)
        gmm.fit(pca.transform(X[LABELS == label]))
        logs.append(gmm.score_samples(pca.transform(T)))
    return 1 / (1 + np.exp(np.clip(logs[0] - logs[1], -500, 500)))


def mlp_steps():
    """Five full-batch steps from a known start, with weights and a strong penalty."""
    hidden, random = 6, np.random.default_rng(7)
    start = [random.normal(size=(WIDTH, hidden)) * 0.3, random.normal(size=(hidden, 1)) * 0.3]
    biases = [random.normal(size=hidden) * 0.1, random.normal(size=1) * 0.1]
    start, biases = [[np.round(part, 5) for part in parts] for parts in (start, biases)]

    class FromStart(MLPClassifier):
        def _initialize(self, y, layer_units, dtype):
            super()._initialize(y, layer_units, dtype)
            self.coefs_, self.intercepts_ = [p.copy() for p in start], [p.copy() for p in biases]

    def flat(coefs, intercepts):
        parts = [coefs[0].T, intercepts[0], coefs[1], intercepts[1]]
        return short(np.concatenate([np.ravel(part) for part in parts]))

    model = FromStart((hidden,), alpha=0.5, batch_size=len(X), max_iter=5, shuffle=False, learning_rate_init=0.02)
    model.fit(X, LABELS, sample_weight=WEIGHTS)
    return {"hidden": hidden, "start": flat(start, biases), "end": flat(model.coefs_, model.intercepts_)}


def randomised(make, **data):
    """What a model with random numbers says on the mean of several seeds, and how far single seeds are from that."""
    each = np.array([make(seed) if not data else scores(make(seed), **data) for seed in SEEDS])
    mean = each.mean(axis=0)
    print("  agreement of single seeds:", ((each > 0.5) == (mean > 0.5)).mean(axis=1).round(3))
    print("  mean difference:", np.abs(each - mean).mean(axis=1).round(4))
    print("  AUROC:", [round(roc_auc_score(TOKEN_LABELS, p), 4) for p in each])
    return {"mean": short(mean, 6), "auroc": roc_auc_score(TOKEN_LABELS, mean)}


def main():
    warnings.filterwarnings("ignore")
    many = {"x": np.repeat(X, REPEATS, axis=0), "y": np.repeat(LABELS, REPEATS)}
    recorded = {
        "rows": ROWS.ravel().tolist(),
        "labels": LABELS.tolist(),
        "tokens": TOKENS.ravel().tolist(),
        "token_labels": TOKEN_LABELS.tolist(),
        "weights": WEIGHTS.tolist(),
        "logistic_regression": logistic(),
        "k_nearest": k_nearest(),
        "gradient_boosting": boosting(),
        "mixture": mixture(),
        "mlp_steps": mlp_steps(),
    }
    print("gaussian-mixture")
    recorded["gaussian_mixture"] = randomised(whole_mixture)
    print("random-forest")
    recorded["random_forest"] = randomised(lambda seed: RandomForestClassifier(random_state=seed), x=X, y=LABELS)
    print(f"mlp, every sentence {REPEATS} times")
    mlp = lambda seed: MLPClassifier((640,), early_stopping=True, max_iter=200, random_state=seed)
    recorded["mlp"] = randomised(mlp, **many)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in recorded.items())
    path = pathlib.Path(__file__).with_name("text_models.json")
    path.write_text("{\n" + lines + "\n}\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
