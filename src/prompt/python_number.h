// Numbers as Python reads them, for the places where a prompt's meaning was defined by Python's float() and int().
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace lorikeet {

// float(text): white space around, digits of any script, "_" between digits, "inf", "nan"; nothing where Python raises ValueError.
std::optional<double> python_float(std::string_view text);
// int(text), likewise; nothing also where the number does not fit 64 bits.
std::optional<int64_t> python_int(std::string_view text);

}  // namespace lorikeet
