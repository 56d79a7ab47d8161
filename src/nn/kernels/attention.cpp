// Cuts attention into heads and query blocks, gives them to the threads; the arithmetic is in attention_*.cpp.
#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {
namespace {

// [B, T, h·d] -> [B, h, T, d]
Tensor split_heads(const Tensor& x, int64_t heads) { return x.unflatten(-1, {heads, x.size(-1) / heads}).transpose(1, 2); }

Tensor rows_contiguous(const Tensor& x) { return x.stride(-1) == 1 || x.size(-1) == 1 ? x : x.contiguous(); }

uint8_t* bytes_at(const Tensor& x, int64_t offset) { return static_cast<uint8_t*>(x.data_ptr()) + offset * x.element_size(); }

// Each thread's own, kept between calls.
void* scratch(int64_t bytes) {
  thread_local Tensor memory;
  if (!memory.defined() || memory.numel() < bytes) memory = at::empty({bytes}, at::TensorOptions().dtype(torch::kByte));
  return memory.data_ptr();
}

Tensor byte_buffer(int64_t bytes) { return at::empty({bytes}, at::TensorOptions().dtype(torch::kByte)); }
Tensor empty_floats(Shape shape) { return at::empty(shape, at::TensorOptions().dtype(torch::kFloat)); }
float* pointer(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

// Where head i of [B · h] begins in x: [B, T, h·d].
uint8_t* head_of(const Tensor& x, int64_t i, int64_t heads) {
  return bytes_at(x, i / heads * x.stride(0) + i % heads * (x.size(2) / heads));
}

AttentionResult forward(const AttentionInput& input, bool with_lse) {
  const int64_t heads = input.heads;
  const Tensor q = rows_contiguous(input.q), k = rows_contiguous(input.k.to(q.scalar_type())),
               v = rows_contiguous(input.v.to(q.scalar_type()));
  const int64_t batch = q.size(0), width = q.size(2) / heads;
  const Tensor out = at::empty({batch, q.size(1), q.size(2)}, q.options());
  const Tensor lse = with_lse ? empty_floats({batch, heads, q.size(1)}) : Tensor();
  const AttentionShape shape{
      q.size(1), k.size(1), width, q.stride(1), k.stride(1), v.stride(1), out.stride(1), static_cast<float>(input.scale), input.causal};
  if (out.numel() == 0) return {out, lse};

  const AttentionKernel& kernel = attention_kernel(q.scalar_type() == torch::kBFloat16);
  const int64_t packed_bytes = kernel.packed_bytes(shape);
  const Tensor packed = byte_buffer(batch * heads * packed_bytes);
  const auto packed_head = [&](int64_t i) { return static_cast<uint8_t*>(packed.data_ptr()) + i * packed_bytes; };
  parallel(batch * heads, [&](int64_t i) { kernel.pack(shape, head_of(k, i, heads), head_of(v, i, heads), packed_head(i)); });

  const int64_t block = kernel.query_block(shape), blocks = (shape.queries + block - 1) / block;
  parallel(batch * heads * blocks, [&](int64_t i) {
    const int64_t head = i / blocks;
    kernel.run(shape, i % blocks * block,
               {head_of(q, head, heads), packed_head(head), scratch(kernel.scratch_bytes(shape)), head_of(out, head, heads),
                with_lse ? pointer(lse) + head * shape.queries : nullptr});
  });
  return {out, lse};
}

// How the T×S matrix of a head is cut for the threads: by its shape alone, so that the sums do not depend on their number. Each piece
// needs sums of its own, so there are few: at most 4, of 512 keys or queries at least.
struct Cut {
  int64_t queries, keys, parts_q, parts_k;  // of one piece; pieces along the queries and along the keys

  Cut(const AttentionGradientShape& shape, const AttentionGradientKernel& kernel) {
    constexpr int64_t kMost = 4, kLeast = 512;
    const auto whole = [](int64_t n, int64_t parts, int64_t block) { return ((n + parts - 1) / parts + block - 1) / block * block; };
    keys = whole(shape.keys, std::clamp<int64_t>(shape.keys / kLeast, 1, kMost), kernel.key_block);
    parts_k = (shape.keys + keys - 1) / keys;
    queries = whole(shape.queries, std::clamp<int64_t>(shape.queries / kLeast, 1, kMost / parts_k), kernel.query_block);
    parts_q = (shape.queries + queries - 1) / queries;
  }
};

// The gradient of all heads: packs them, sums up piece by piece, puts the pieces together.
class Backward {
 public:
  Backward(const AttentionInput& input, const AttentionResult& result, const Tensor& dout, bool wants_q, bool wants_kv)
      : heads_(input.heads),
        count_(input.q.size(0) * heads_),
        q_(rows_contiguous(input.q)),
        k_(rows_contiguous(input.k)),
        v_(rows_contiguous(input.v)),
        out_(rows_contiguous(result.out)),
        dout_(rows_contiguous(dout)),
        lse_(result.lse.contiguous()),
        shape_{q_.size(1),     k_.size(1),      q_.size(2) / heads_,
               q_.stride(1),   k_.stride(1),    v_.stride(1),
               out_.stride(1), dout_.stride(1), static_cast<float>(input.scale),
               input.causal,   wants_q,         wants_kv},
        kernel_(attention_gradient_kernel(q_.scalar_type() == torch::kBFloat16)),
        cut_(shape_, kernel_),
        q_part_(shape_.queries * kernel_.dq_row(shape_)),
        kv_part_((shape_.keys + kernel_.key_block - 1) / kernel_.key_block * kernel_.dkv_floats(shape_)) {}

  AttentionGradients operator()() {
    const int64_t packed_bytes = kernel_.packed_bytes(shape_);
    const Tensor packed = byte_buffer(count_ * packed_bytes);
    const auto packed_head = [&](int64_t i) { return static_cast<uint8_t*>(packed.data_ptr()) + i * packed_bytes; };
    parallel(count_, [&](int64_t i) {
      kernel_.pack(shape_,
                   {head_of(q_, i, heads_), head_of(out_, i, heads_), head_of(dout_, i, heads_), pointer(lse_) + i * shape_.queries},
                   packed_head(i));
    });
    if (shape_.wants_q) dq_sums_ = empty_floats({count_, cut_.parts_k, q_part_});
    if (shape_.wants_kv) dkv_sums_ = empty_floats({count_, cut_.parts_q, kv_part_});
    const int64_t pieces = cut_.parts_q * cut_.parts_k;
    parallel(count_ * pieces, [&](int64_t i) { run(i / pieces, i % pieces / cut_.parts_k, i % cut_.parts_k, packed_head(i / pieces)); });
    AttentionGradients result;
    if (shape_.wants_q) result.dq = finish_q();
    if (shape_.wants_kv) finish_kv(result);
    return result;
  }

 private:
  void run(int64_t head, int64_t part_q, int64_t part_k, const void* packed) {
    const int64_t query = part_q * cut_.queries, key = part_k * cut_.keys;
    const auto sums = [](const Tensor& all, int64_t part, int64_t floats) {
      return all.defined() ? pointer(all) + part * floats : nullptr;
    };
    kernel_.run(shape_, {query, std::min(cut_.queries, shape_.queries - query), key, std::min(cut_.keys, shape_.keys - key),
                         head_of(k_, head, heads_), head_of(v_, head, heads_), packed, scratch(kernel_.scratch_bytes(shape_)),
                         sums(dq_sums_, head * cut_.parts_k + part_k, q_part_), sums(dkv_sums_, head * cut_.parts_q + part_q, kv_part_)});
  }

  Tensor finish_q() const {
    const Tensor dq = at::empty({q_.size(0), q_.size(1), q_.size(2)}, q_.options());
    constexpr int64_t kRows = 256;
    const int64_t blocks = (shape_.queries + kRows - 1) / kRows;
    parallel(count_ * blocks, [&](int64_t i) {
      const int64_t head = i / blocks, first = i % blocks * kRows;
      kernel_.finish_q(
          shape_,
          {pointer(dq_sums_) + head * cut_.parts_k * q_part_, cut_.parts_k, q_part_, first, std::min(kRows, shape_.queries - first)},
          head_of(dq, head, heads_), dq.stride(1));
    });
    return dq;
  }

  void finish_kv(AttentionGradients& to) const {
    to.dk = at::empty({k_.size(0), k_.size(1), k_.size(2)}, k_.options());
    to.dv = at::empty({k_.size(0), k_.size(1), k_.size(2)}, k_.options());
    const int64_t rows = kernel_.key_block, blocks = (shape_.keys + rows - 1) / rows;
    parallel(count_ * blocks, [&](int64_t i) {
      const int64_t head = i / blocks, first = i % blocks * rows;
      kernel_.finish_kv(
          shape_, {pointer(dkv_sums_) + head * cut_.parts_q * kv_part_, cut_.parts_q, kv_part_, first, std::min(rows, shape_.keys - first)},
          head_of(to.dk, head, heads_), head_of(to.dv, head, heads_), to.dk.stride(1));
    });
  }

  int64_t heads_, count_;  // count_: B · h
  Tensor q_, k_, v_, out_, dout_, lse_, dq_sums_, dkv_sums_;
  AttentionGradientShape shape_;
  const AttentionGradientKernel& kernel_;
  Cut cut_;
  int64_t q_part_, kv_part_;  // floats of one part of one head
};

}  // namespace

// The kernels scale after taking the maximum, so a negative scale goes into q.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal) {
  if (!supported(q)) {
    return torch_attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), scale, causal).transpose(1, 2).flatten(2);
  }
  return forward({scale < 0 ? -q : q, k, v, heads, std::abs(scale), causal}, false).out;
}

AttentionResult attention_with_lse(const AttentionInput& input) {
  return forward({input.scale < 0 ? -input.q : input.q, input.k, input.v, input.heads, std::abs(input.scale), input.causal}, true);
}

AttentionGradients attention_backward(const AttentionInput& input, const AttentionResult& result, const Tensor& dout, bool wants_q,
                                      bool wants_kv) {
  if (input.scale < 0) {
    AttentionGradients flipped =
        attention_backward({-input.q, input.k, input.v, input.heads, -input.scale, input.causal}, result, dout, wants_q, wants_kv);
    if (wants_q) flipped.dq.neg_();
    return flipped;
  }
  if (input.q.numel() == 0 || input.k.numel() == 0) return {at::zeros_like(input.q), at::zeros_like(input.k), at::zeros_like(input.v)};
  return Backward(input, result, dout, wants_q, wants_kv)();
}

}  // namespace lorikeet::kernels
