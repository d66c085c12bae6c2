"""Drawings of the blocks, for `archcalc show`: plain characters, data flowing down, shapes where they change."""

ALEXNET = """
image -> [conv 11x11/4] -> pool -> [conv 5x5] -> pool -> [conv 3x3] x3 -> pool -> fc -> fc -> fc
           96 (2 x 48)             256 (2 x 128)          384 384 256           4096  4096  1000
"""

VGG = """
image -> [3x3]..[3x3] -> pool -> [3x3]..[3x3] -> pool -> ... five times -> fc 4096 -> fc 4096 -> fc 1000
             64                     128              256, 512, 512
"""

INCEPTION_MODULE = """
                      x
      +---------+-----+-----+---------+
      |         |           |         |
      |      1x1 reduce  1x1 reduce  max pool 3x3
     1x1       3x3         5x5       1x1 projection
      |         |           |         |
      +---------+-----+-----+---------+
              concatenate
"""

RESIDUAL = """
basic block            bottleneck block
      x                       x
      |-----------+           |-----------+
   conv 3x3       |        conv 1x1  C    |
   BN, ReLU       |        BN, ReLU       |
   conv 3x3    identity    conv 3x3  C  identity
   BN          or 1x1      BN, ReLU     or 1x1
      |           |        conv 1x1 4C    |
      |           |        BN             |
      +<----------+           +<----------+
     ReLU                    ReLU
"""

SE_BLOCK = """
 u: C x H x W
 |----------------------+
 |           squeeze: global average pooling   C x 1 x 1
 |           fc  C -> C/r, ReLU
 |           fc  C/r -> C, sigmoid             one gate a channel
 |                      |
 +<------ multiply -----+
 |
 C x H x W
"""

DENSE_LAYER = """
[x0, x1, ..., xl]          all maps before it, concatenated
   BN, ReLU, conv 1x1      to 4k maps (bottleneck)
   BN, ReLU, conv 3x3      to k maps, the growth rate
x(l+1)
"""

DENSE_BLOCK = """
x0 ------+-----------+-----------+------------>  concatenated: k0 + L * k maps
         |           |           |
      layer 1 -> x1 -+-----------+------------>
                  layer 2 -> x2 -+------------>  each layer reads all maps before it
                              layer 3 -> x3 -->  and adds k of its own
"""

TRANSITION = """
BN, ReLU -> conv 1x1 (C -> C/2) -> average pooling 2x2
"""

CHANNEL_SHUFFLE = """
group 1: a b c        a d g         each group of the next
group 2: d e f   ->   b e h         convolution sees a part
group 3: g h i        c f i         of every group before it
"""

SHUFFLE_UNIT_V1 = """
stride 1                          stride 2
      x                                 x
      |------------+                    |------------+
  1x1 grouped      |                1x1 grouped      |
  BN, ReLU         |                BN, ReLU         |
  channel shuffle  |                channel shuffle  |
  3x3 depthwise    |                3x3 depthwise /2  average pooling 3x3 /2
  BN               |                BN               |
  1x1 grouped, BN  |                1x1 grouped, BN  |
      +<-- add ----+                    +<- concat --+
     ReLU                              ReLU
"""

SHUFFLE_UNIT_V2 = """
stride 1                          stride 2
   channel split                        x
  +------+-------+               +------+------+
  |   1x1, BN, ReLU       3x3 depthwise /2, BN   1x1, BN, ReLU
  |   3x3 depthwise, BN   1x1, BN, ReLU          3x3 depthwise /2, BN
  |   1x1, BN, ReLU              |               1x1, BN, ReLU
  +------+-------+               +------+------+
   concatenate                     concatenate
   channel shuffle                 channel shuffle
"""

RNN = """
      o1        o2        o3        o = V h, where outputs are asked for
      |V        |V        |V
h0 -> h1 -----> h2 -----> h3        h' = tanh(U x + W h + b)
   W  |U     W  |U     W  |U
      x1        x2        x3        the same U, W, V at every step
"""

GRU = """
r = sigmoid(U_r x + W_r h)          reset gate
z = sigmoid(U_z x + W_z h)          update gate
n = tanh(U_n x + r * (W_n h))       new state
h' = (1 - z) * n + z * h
"""

LSTM = """
c ------- x f ----------- + -----------> c'      f: forget gate    sigmoid(U_f x + W_f h)
                          |        |             i: input gate     sigmoid(U_i x + W_i h)
                        i x g     tanh           g: candidate      tanh(U_g x + W_g h)
                                   |             o: output gate    sigmoid(U_o x + W_o h)
h, x -> [i f g o] ------------- o x -----> h'
"""

ATTENTION = """
Q: n x d_k     K: m x d_k
     |              |
     +-- Q K^T / sqrt(d_k): n x m scores
                |
        mask, then softmax over the m keys
                |         V: m x d_v
                +---- weights V: n x d_v
"""

MULTI_HEAD_ATTENTION = """
 x          memory    memory
 |W_Q       |W_K      |W_V        linear, split into h heads
 +----------+---------+
   attention in h heads at once
           concat
             |W_O
         n x d_model
"""

ENCODER_LAYER = """
x -> self-attention (padding mask) -> + x -> LN -> linear d_ff, ReLU, linear -> + -> LN
"""

DECODER_LAYER = """
x -> self-attention (sequence mask) -> + x -> LN
  -> attention over the encoder's output (padding mask) -> + -> LN
  -> linear d_ff, ReLU, linear -> + -> LN
"""

TRANSFORMER = """
source -> embedding + positions -> [self-attention, feed-forward] x6 -> memory
                                    padding mask                          |
target -> embedding + positions -> [masked self-attention, attention to memory, feed-forward] x6 -> linear -> words
                                    sequence mask                          (each sublayer: x + F(x), then LN)
"""

GPT2_BLOCK = """
x -> LN -> masked self-attention -> + x -> LN -> linear 4d, GELU, linear -> +
"""

SEPARABLE = """
C maps -> depthwise k x k: each map its own kernel -> pointwise 1x1: C -> C' maps
"""

LOW_RANK = """
k x k  becomes  1 x k, then k x 1:  2k weights in place of k*k for a pair of channels
"""

CONV = """
Cin maps -> Cout kernels of Cin/groups x k x k -> Cout maps, each place a sum over Cin/groups * k * k products
"""

NORMS = """
            N   C   H   W            N   n   d_model
BN over     *   .   *   *     LN over .   .   *        (* averaged over, . kept apart)
"""

SEQUENCE_LAYERS = """
                     y1   y2   y3   y4                                  y1   y2   y3   y4
self-attention:      |  x  all to all  |         recurrent:             |    |    |    |
                     x1   x2   x3   x4                                  h -> h -> h -> h
                                                                        x1   x2   x3   x4
convolutional, restricted attention: each y_i sees x_i and the k - 1, or r - 1, positions before it
"""
