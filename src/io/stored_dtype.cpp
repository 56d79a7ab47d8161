#include "io/stored_dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor files are little-endian and are mapped as they are");

using Table = std::array<c10::Half, 256>;

// FP8 E4M3 and E5M2: Micikevicius et al. 2022, arXiv:2209.05433, table 1. Every value of both is a float16.
Table make_e4m3_table() {
  Table table;
  for (int bits = 0; bits < 256; ++bits) {
    const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
    float value =
        exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(8.0F + static_cast<float>(mantissa), exponent - 10);
    if ((bits & 127) == 127) value = std::numeric_limits<float>::quiet_NaN();  // the only NaN; there are no infinities
    table[static_cast<size_t>(bits)] = (bits & 128) ? -value : value;
  }
  return table;
}

// E5M2 is a float16 whose lower byte is missing.
Table make_e5m2_table() {
  Table table;
  for (unsigned bits = 0; bits < 256; ++bits) table[bits] = c10::Half(static_cast<unsigned short>(bits << 8), c10::Half::from_bits());
  return table;
}

Tensor look_up(const Tensor& bytes, const Table& table) {
  const Tensor from = bytes.contiguous();
  Tensor to = torch::empty(from.sizes(), torch::kHalf);
  const auto* source = from.data_ptr<uint8_t>();
  auto* target = to.data_ptr<c10::Half>();
  for (int64_t i = 0, n = from.numel(); i < n; ++i) target[i] = table[source[i]];
  return to;
}

Tensor e4m3_to_half(const Tensor& t) {
  static const Table table = make_e4m3_table();
  return look_up(t, table);
}

Tensor e5m2_to_half(const Tensor& t) {
  static const Table table = make_e5m2_table();
  return look_up(t, table);
}

Tensor to_bool(const Tensor& t) { return t.ne(0); }  // a byte other than 0 and 1 is no bool in C++
Tensor from_u16(const Tensor& t) { return t.to(torch::kLong).bitwise_and(int64_t{0xFFFF}); }
Tensor from_u32(const Tensor& t) { return t.to(torch::kLong).bitwise_and(int64_t{0xFFFFFFFF}); }
Tensor from_u64(const Tensor& t) {
  if (t.numel() > 0 && t.lt(0).any().item<bool>()) {
    throw Error(ErrorKind::unsupported, "a U64 tensor holds a number above 9223372036854775807");
  }
  return t;
}

constexpr auto kByte = torch::kByte;
const std::array<StoredDtype, 15> kStoredDtypes{{
    {"BOOL", 1, torch::kBool, kByte, to_bool},
    {"U8", 1, kByte, kByte, nullptr},
    {"I8", 1, torch::kChar, torch::kChar, nullptr},
    {"F8_E5M2", 1, torch::kHalf, kByte, e5m2_to_half},
    {"F8_E4M3", 1, torch::kHalf, kByte, e4m3_to_half},
    {"I16", 2, torch::kShort, torch::kShort, nullptr},
    {"U16", 2, torch::kLong, torch::kShort, from_u16},
    {"F16", 2, torch::kHalf, torch::kHalf, nullptr},
    {"BF16", 2, torch::kBFloat16, torch::kBFloat16, nullptr},
    {"I32", 4, torch::kInt, torch::kInt, nullptr},
    {"U32", 4, torch::kLong, torch::kInt, from_u32},
    {"F32", 4, torch::kFloat, torch::kFloat, nullptr},
    {"F64", 8, torch::kDouble, torch::kDouble, nullptr},
    {"I64", 8, torch::kLong, torch::kLong, nullptr},
    {"U64", 8, torch::kLong, torch::kLong, from_u64},
}};

}  // namespace

std::span<const StoredDtype> stored_dtypes() { return kStoredDtypes; }

const StoredDtype* find_stored_dtype(std::string_view name) {
  for (const auto& row : kStoredDtypes) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

const StoredDtype* find_stored_dtype(Dtype dtype) {
  for (const auto& row : kStoredDtypes) {
    if (row.dtype == dtype && (row.convert == nullptr || dtype == torch::kBool)) return &row;
  }
  return nullptr;
}

std::optional<int64_t> checked_numel(torch::IntArrayRef shape) {
  if (shape.size() > 64) return std::nullopt;
  int64_t product = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    empty = empty || size == 0;
    if (__builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product)) return std::nullopt;
  }
  return empty ? 0 : product;
}

std::optional<int64_t> checked_extent(torch::IntArrayRef shape, torch::IntArrayRef strides) {
  const auto numel = checked_numel(shape);
  if (!numel || shape.size() != strides.size()) return std::nullopt;
  int64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t step = 0;
    if (strides[i] < 0) return std::nullopt;
    if (__builtin_mul_overflow(std::max<int64_t>(shape[i] - 1, 0), strides[i], &step)) return std::nullopt;
    if (__builtin_add_overflow(last, step, &last)) return std::nullopt;
  }
  if (*numel == 0) return 0;
  if (last == std::numeric_limits<int64_t>::max()) return std::nullopt;
  return last + 1;
}

Shape contiguous_strides(torch::IntArrayRef shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

Tensor tensor_at(std::shared_ptr<const void> owner, const char* data, const StoredDtype& stored, const Shape& shape, const Shape& strides) {
  const int64_t extent = checked_extent(shape, strides).value();
  if (extent == 0) return torch::empty(shape, stored.dtype);
  Tensor tensor;
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(stored.size) == 0) {
    // const_cast: from_blob knows no read-only memory; the contract of TensorEntry::view forbids writing.
    tensor = torch::from_blob(
        const_cast<char*>(data), shape, strides, [owner = std::move(owner)](void*) {}, stored.carrier);
  } else {
    const Tensor copy = torch::empty({extent}, stored.carrier);
    std::memcpy(copy.data_ptr(), data, static_cast<size_t>(extent * stored.size));
    tensor = copy.as_strided(shape, strides);
  }
  return stored.convert ? stored.convert(tensor) : tensor;
}

}  // namespace lorikeet
