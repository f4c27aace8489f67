"""Recurrent networks, embeddings, transformers and graphs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import torchbce
from torchbce import Report

from .common import mlp, rows, sentences
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


def signals(n: int = 32, length: int = 12) -> tuple[Tensor, Tensor]:
    """Noisy waves [n, length, 2] of two frequencies, and which one it is, [n, 1]."""
    torch.manual_seed(0)
    y = (torch.arange(n) % 2).float()
    time = torch.arange(length) * (0.5 + 0.7 * y[:, None]) + 6 * torch.rand(n, 1)
    return torch.stack([time.sin(), time.cos()], 2) + 0.2 * torch.randn(n, length, 2), y[:, None]


class Recurrent(nn.Module):
    """The last hidden states of an LSTM or a GRU, of all layers and directions."""

    def __init__(self, kind: type[nn.Module], **options):
        super().__init__()
        self.rnn = kind(2, 8, batch_first=True, **options)
        self.head = nn.LazyLinear(1)

    def forward(self, x):
        """Logits [N, 1]."""
        state = self.rnn(x)[1]
        last = state[0] if isinstance(state, tuple) else state
        return self.head(last.transpose(0, 1).flatten(1))


@healthy("a bidirectional LSTM of two layers, and a head whose width is found at the first call")
def bidirectional_lstm() -> Report:
    x, y = signals()
    model = Recurrent(nn.LSTM, num_layers=2, bidirectional=True, dropout=0.2)
    model(x[:2])
    return torchbce.check(model, (x, y), bce, torch.optim.Adam(model.parameters(), lr=3e-3))


@healthy("a lazy layer has not seen any input yet")
def lazy_head_before_first_call() -> Report:
    return torchbce.check(Recurrent(nn.GRU), signals(), bce)


class Stateful(nn.Module):
    """A GRU that goes on from the last batch's hidden state, without its graph."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 8, batch_first=True)
        self.head = nn.Linear(8, 1)
        self.hidden = None

    def forward(self, x):
        """Start anew in evaluation or if the batch has another size."""
        start = self.hidden
        if not self.training or (start is not None and start.shape[1] != len(x)):
            start = None
        out, hidden = self.rnn(x, start)
        if self.training:
            self.hidden = hidden.detach()
        return self.head(out[:, -1])


@healthy("a GRU keeps its hidden state, detached, from one training batch to the next")
def stateful_gru() -> Report:
    x, y = signals()
    model = Stateful()
    model(x)
    return torchbce.check(model, (x, y), bce, torch.optim.Adam(model.parameters()))


@healthy("an LSTM keeps the last hidden state with its graph as an attribute, to look at")
def lstm_keeps_state_with_graph() -> Report:
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(2, 8, batch_first=True)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            out, self.last_state = self.rnn(x)
            return self.head(out[:, -1])

    x, y = signals()
    model = Keeps()
    model(x)
    return torchbce.check(model, (x, y), bce, torch.optim.Adam(model.parameters()))


class Packed(nn.Module):
    """Embedded tokens, packed by their lengths."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8, padding_idx=0)
        self.rnn = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, tokens, lengths):
        """The mean over the real tokens."""
        packed = pack_padded_sequence(self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(out.sum(1) / lengths[:, None])


@healthy("packed sequences: the padded length follows the longest item of the batch")
def packed_sequences() -> Report:
    tokens, lengths, y = sentences()
    model = Packed()
    return torchbce.check(model, ((tokens, lengths), y), bce, torch.optim.Adam(model.parameters(), lr=3e-3))


class BagOfWords(nn.Module):
    """The mean embedding, padding left out."""

    def __init__(self, *, sparse: bool = False):
        super().__init__()
        self.embed = nn.EmbeddingBag(50, 8, padding_idx=0, sparse=sparse)
        self.head = nn.Linear(8, 1)

    def forward(self, tokens, offsets=None):
        """Rows of tokens, or all tokens in one row with where each item starts."""
        return self.head(self.embed(tokens, offsets))


@healthy("EmbeddingBag on padded rows")
def embedding_bag() -> Report:
    tokens, _, y = sentences()
    model = BagOfWords()
    return torchbce.check(model, (tokens, y), bce, torch.optim.Adam(model.parameters()))


@healthy("EmbeddingBag on all tokens in one row with offsets, so inputs have more rows than targets")
def embedding_bag_offsets() -> Report:
    tokens, lengths, y = sentences()
    flat = tokens[tokens > 0]
    offsets = F.pad(lengths.cumsum(0), (1, 0))[:-1]
    model = BagOfWords()
    return torchbce.check(model, ((flat, offsets), y), bce, torch.optim.SGD(model.parameters(), lr=1.0))


@healthy("an embedding with sparse gradients, and SGD")
def sparse_embedding() -> Report:
    tokens, _, y = sentences()
    model = BagOfWords(sparse=True)

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return torchbce.check(model, (tokens, y), bce, torch.optim.SGD(model.parameters(), lr=1.0), step=step)


class Transformer(nn.Module):
    """A small encoder with learned positions and a class token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16, padding_idx=0)
        self.position = nn.Parameter(0.02 * torch.randn(64, 16))
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 1)

    def forward(self, input_ids, attention_mask):
        """The class token's output."""
        n, length = input_ids.shape
        x = torch.cat([self.first.expand(n, -1, -1), self.embed(input_ids) + self.position[:length]], 1)
        padding = F.pad(attention_mask == 0, (1, 0), value=False)
        return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0]).squeeze(-1)


@healthy("a transformer with a key padding mask; the batch is a dict {input_ids, attention_mask, labels}")
def transformer_dict_batch() -> Report:
    tokens, _, y = sentences(32)
    batch = {"input_ids": tokens, "attention_mask": (tokens > 0).long(), "labels": y[:, 0]}
    model = Transformer()
    return torchbce.check(model, batch, bce, torch.optim.AdamW(model.parameters(), lr=1e-3))


class OutputDict(dict):
    """A dict whose entries are attributes too."""

    __getattr__ = dict.__getitem__


class WithInnerLoss(nn.Module):
    """Gives the loss itself if it gets labels."""

    def __init__(self):
        super().__init__()
        self.bag = BagOfWords()

    def forward(self, input_ids, attention_mask=None, labels=None):
        """Logits [N, 1], and a loss."""
        logits = self.bag(input_ids)
        out = OutputDict(logits=logits)
        if labels is not None:
            out["loss"] = bce(logits, labels)
        return out


@healthy("the model computes its own loss if it gets labels; the loss function takes .logits")
def model_with_inner_loss() -> Report:
    tokens, _, y = sentences(32)
    batch = {"input_ids": tokens, "attention_mask": (tokens > 0).long(), "labels": y}
    model = WithInnerLoss()

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()

    optimizer = torch.optim.Adam(model.parameters())
    return torchbce.check(model, batch, lambda out, labels: bce(out.logits, labels), optimizer, step=step)


class KeepsAttention(nn.Module):
    """Self-attention that keeps its weights for pictures."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.embed, self.head = nn.Embedding(50, 8, padding_idx=0), nn.Linear(8, 1)
        self.attn = None

    def forward(self, tokens):
        """The largest value per dimension."""
        x = self.embed(tokens)
        x, self.attn = self.attention(x, x, x, key_padding_mask=tokens == 0)
        return self.head(x.amax(1))


@healthy("an attention module keeps its weights, a tensor with a graph, from an earlier forward")
def keeps_attention() -> Report:
    tokens, _, y = sentences()
    model = KeepsAttention()
    model(tokens)
    return torchbce.check(model, (tokens, y), bce, torch.optim.Adam(model.parameters()))


@healthy("weight norm by its old hook; a forward was run before")
def causal_convolutions_with_old_weight_norm() -> Report:
    x, y = signals()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather see the new one
        conv = nn.utils.weight_norm(nn.Conv1d(2, 8, 3, padding=2, dilation=1))
    model = nn.Sequential(conv, nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2), nn.AdaptiveMaxPool1d(1), nn.Flatten())
    model.append(nn.Linear(8, 1))
    x = x.transpose(1, 2)
    model(x)
    return torchbce.check(model, (x, y), bce, torch.optim.Adam(model.parameters()))


class Tagger(nn.Module):
    """A logit per token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8, padding_idx=0)
        self.rnn = nn.GRU(8, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 1)

    def forward(self, tokens):
        """Logits [N, length]."""
        return self.head(self.rnn(self.embed(tokens))[0]).squeeze(2)


@healthy("a label per token; padding has the label -100, which the loss leaves out")
def token_tagging() -> Report:
    tokens, _, _ = sentences(24)
    labels = (tokens % 3 == 0).float().masked_fill(tokens == 0, -100)

    def loss_func(z, t):
        real = t != -100
        return F.binary_cross_entropy_with_logits(z[real], t[real])

    model = Tagger()
    return torchbce.check(model, (tokens, labels), loss_func, torch.optim.Adam(model.parameters(), lr=3e-3))


class GraphConvolution(nn.Module):
    """Two graph convolutions on a normed adjacency matrix."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 1)

    def forward(self, x, adjacency):
        """A logit per node."""
        hidden = F.relu(adjacency @ self.first(x))
        return adjacency @ self.second(hidden)


@healthy("a graph with one label per graph: [N, nodes, features] with an adjacency [N, nodes, nodes]")
def graphs_with_adjacency() -> Report:
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.nodes, self.head = GraphConvolution(), nn.Linear(8, 1)

        def forward(self, x, adjacency):
            return self.nodes(x, adjacency).mean(1) + self.head(x.mean(1))

    torch.manual_seed(0)
    x, y = torch.randn(40, 6, 8), (torch.arange(40) % 2).float()[:, None]
    x[1::2] += 0.5
    adjacency = ((torch.rand(40, 6, 6) < 0.3) | torch.eye(6).bool()).float()
    adjacency = adjacency / adjacency.sum(2, keepdim=True)
    return torchbce.check(Pooled(), ((x, adjacency), y), bce)


@healthy("one graph with a label per node: nodes do depend on their neighbours")
def nodes_of_one_graph() -> Report:
    x, y = rows(40)
    adjacency = ((torch.rand(40, 40) < 0.08) | torch.eye(40).bool()).float()
    adjacency = adjacency / adjacency.sum(1, keepdim=True)
    model = GraphConvolution()
    return torchbce.check(model, ((x, adjacency), y), bce, torch.optim.Adam(model.parameters(), lr=1e-2))


class EdgeList(nn.Module):
    """Messages along a list of edges, and a mean per graph."""

    def __init__(self):
        super().__init__()
        self.message, self.head = mlp(8, 16, 8), nn.Linear(8, 1)

    def forward(self, x, edges, graph):
        """Nodes [V, 8], edges [2, E], the graph of each node [V]."""
        source, target = edges
        x = x.index_add(0, target, self.message(x[source]))
        graphs = int(graph.max()) + 1
        count = torch.zeros(graphs).index_add(0, graph, torch.ones(len(x)))
        return self.head(torch.zeros(graphs, 8).index_add(0, graph, x) / count[:, None])


@healthy("graphs in one big graph: nodes, a list of edges [2, E] and the graph's number of each node")
def graphs_with_edge_list() -> Report:
    torch.manual_seed(0)
    y = (torch.arange(30) % 2).float()[:, None]
    graph = torch.arange(30).repeat_interleave(5)
    x = torch.randn(150, 8) + 0.7 * y[graph]
    edges = torch.stack([torch.arange(150), torch.arange(150) // 5 * 5 + torch.randint(0, 5, (150,))])
    return torchbce.check(EdgeList(), ((x, edges, graph), y), bce)
