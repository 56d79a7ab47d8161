// The element types of tensor files, and tensors made from bytes that lie in a file. One table for all formats.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/torch.h"

namespace lorikeet {

struct StoredDtype {
  std::string_view name;               // safetensors' word: "F16", "F8_E4M3"
  int64_t size;                        // bytes of an element
  Dtype dtype;                         // what a reader gets
  Dtype carrier;                       // torch's type of the same size whose bits are looked at
  Tensor (*convert)(const Tensor& t);  // carrier -> dtype; null: they are the same
};

// In the order of the reference implementation (safetensors' `enum Dtype`), by which its writer sorts tensors, last one first.
std::span<const StoredDtype> stored_dtypes();
const StoredDtype* find_stored_dtype(std::string_view name);  // null: unknown
const StoredDtype* find_stored_dtype(Dtype dtype);            // the type that is stored as it is; null: none (complex, quantised)

// Elements that `shape` holds, or nothing: a negative size, more than 64 dimensions, or a product beyond int64 (sizes of zero
// count as one for that, so that strides of empty tensors are safe too).
std::optional<int64_t> checked_numel(torch::IntArrayRef shape);

// One past the last element that a strided tensor touches, counted from its first one; 0 for an empty tensor.
// Nothing: a negative or overflowing stride, or a bad shape.
std::optional<int64_t> checked_extent(torch::IntArrayRef shape, torch::IntArrayRef strides);

// The tensor whose elements lie at `data`, in elements of `stored`; the caller has checked the bounds with the functions above.
// A view that keeps `owner` alive where type and alignment allow, else a copy.
Tensor tensor_at(std::shared_ptr<const void> owner, const char* data, const StoredDtype& stored, const Shape& shape, const Shape& strides);

Shape contiguous_strides(torch::IntArrayRef shape);

}  // namespace lorikeet
