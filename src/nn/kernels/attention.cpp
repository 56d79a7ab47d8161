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
  if (!memory.defined() || memory.numel() < bytes) memory = at::empty({bytes}, at::TensorOptions().dtype(torch::kUInt8));
  return memory.data_ptr();
}

Tensor byte_buffer(int64_t bytes) { return at::empty({bytes}, at::TensorOptions().dtype(torch::kUInt8)); }

}  // namespace

Tensor attention(const Tensor& q_any, const Tensor& k_any, const Tensor& v_any, int64_t heads, double scale, bool causal) {
  if (!supported(q_any)) {
    return torch_attention(split_heads(q_any, heads), split_heads(k_any, heads), split_heads(v_any, heads), scale, causal)
        .transpose(1, 2)
        .flatten(2);
  }
  if (scale < 0) return attention(-q_any, k_any, v_any, heads, -scale, causal);  // the kernels scale after taking the maximum
  const Tensor q = rows_contiguous(q_any), k = rows_contiguous(k_any.to(q_any.scalar_type())),
               v = rows_contiguous(v_any.to(q_any.scalar_type()));
  const int64_t batch = q.size(0), width = q.size(2) / heads;
  const Tensor out = at::empty({batch, q.size(1), q.size(2)}, q.options());
  const AttentionShape shape{q.size(1), k.size(1), width, q.stride(1), k.stride(1), v.stride(1), out.stride(1), static_cast<float>(scale),
                             causal};
  if (out.numel() == 0) return out;

  const AttentionKernel& kernel = attention_kernel(q.scalar_type() == torch::kBFloat16);
  const int64_t packed_bytes = kernel.packed_bytes(shape);
  const Tensor packed = byte_buffer(batch * heads * packed_bytes);
  const auto packed_head = [&](int64_t i) { return static_cast<uint8_t*>(packed.data_ptr()) + i * packed_bytes; };
  parallel(batch * heads, [&](int64_t i) {
    const int64_t b = i / heads, column = i % heads * width;
    kernel.pack(shape, bytes_at(k, b * k.stride(0) + column), bytes_at(v, b * v.stride(0) + column), packed_head(i));
  });

  const int64_t block = kernel.query_block(shape), blocks = (shape.queries + block - 1) / block;
  parallel(batch * heads * blocks, [&](int64_t i) {
    const int64_t head = i / blocks, b = head / heads, column = head % heads * width;
    kernel.run(shape, i % blocks * block, bytes_at(q, b * q.stride(0) + column), packed_head(head), scratch(kernel.scratch_bytes(shape)),
               bytes_at(out, b * out.stride(0) + column));
  });
  return out;
}

}  // namespace lorikeet::kernels
