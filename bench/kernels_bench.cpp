// GFLOP/s (or GB/s) of each kernel on the shapes of an SD1.5 step, beside libtorch's own operations in the same run.
//   kernels_bench [word …]   only the lines that contain one of the words
//   OMP_NUM_THREADS, LORIKEET_ISA: as in the program.
#include <ATen/Parallel.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/torch_autograd.h"
#include "nn/kernels/isa.h"
#include "nn/kernels/kernels.h"

using namespace lorikeet;
using namespace lorikeet::kernels;

namespace {

std::vector<std::string> wanted;

// With one thread the time that this thread was given, which a busy machine does not falsify; else the time that passed.
double now() {
  timespec t;
  clock_gettime(at::get_num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// The best of some runs.
double seconds(const std::function<Tensor()>& work) {
  work();
  double best = 1e9;
  const double start = now();
  for (int i = 0; i < 20 && (i < 3 || now() - start < 0.4); ++i) {
    const double before = now();
    work();
    best = std::min(best, now() - before);
  }
  return best;
}

bool is_wanted(const std::string& name) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const auto& word) { return name.find(word) != std::string::npos; });
}

// amount: operations, or bytes that have to be read and written.
void line(const std::string& name, double amount, const char* unit, const std::function<Tensor()>& ours,
          const std::function<Tensor()>& torch_way) {
  if (!is_wanted(name)) return;
  const double a = seconds(ours), b = seconds(torch_way);
  std::printf("%-52s %9.3f ms %8.0f %s   libtorch %9.3f ms %8.0f   x %.2f\n", name.c_str(), a * 1e3, amount / a * 1e-9, unit, b * 1e3,
              amount / b * 1e-9, b / a);
  std::fflush(stdout);
}

std::string type_name(Dtype dtype) { return dtype == torch::kBFloat16 ? "bf16 " : "f32  "; }

void bench_linear(Dtype dtype, int64_t rows, int64_t in, int64_t out) {
  const Tensor x = torch::randn({rows, in}).to(dtype), weight = (torch::randn({out, in}) * 0.05).to(dtype),
               bias = torch::randn({out}).to(dtype);
  const Tensor residual = torch::randn({rows, out}).to(dtype);
  const auto linear = PackedLinear::make(weight, bias, dtype);
  const std::string name = "linear " + type_name(dtype) + std::to_string(rows) + " x " + std::to_string(in) + " -> " + std::to_string(out);
  line(
      name, 2.0 * rows * in * out, "GFLOP/s", [&] { return (*linear)(x); }, [&] { return at::linear(x, weight, bias); });
  if (in == out) {
    line(
        name + " + residual", 2.0 * rows * in * out, "GFLOP/s", [&] { return (*linear)(x, residual); },
        [&] { return at::linear(x, weight, bias) + residual; });
  }
}

void bench_conv(Dtype dtype, int64_t batch, int64_t in, int64_t out, int64_t side, int kernel = 3, int stride = 1) {
  const auto last = at::MemoryFormat::ChannelsLast;
  const Tensor x = torch::randn({batch, in, side, side}).to(dtype).contiguous(last);
  const Tensor weight = (torch::randn({out, in, kernel, kernel}) * 0.02).to(dtype).contiguous(last), bias = torch::randn({out}).to(dtype);
  const auto conv = PackedConv2d::make(weight, bias, stride, kernel / 2, dtype);
  const Tensor residual = torch::randn_like((*conv)(x));
  const double work = 2.0 * batch * side * side / (stride * stride) * in * out * kernel * kernel;
  const std::string name = "conv " + type_name(dtype) + std::to_string(batch) + " x " + std::to_string(in) + " -> " + std::to_string(out) +
                           " " + std::to_string(kernel) + "x" + std::to_string(kernel) + (stride > 1 ? "/2" : "") + ", " +
                           std::to_string(side) + "²";
  line(
      name, work, "GFLOP/s", [&] { return (*conv)(x); }, [&] { return at::conv2d(x, weight, bias, stride, kernel / 2); });
  if (in == out && kernel == 3 && stride == 1) {
    line(
        name + " + residual", work, "GFLOP/s", [&] { return (*conv)(x, residual); },
        [&] { return at::conv2d(x, weight, bias, stride, kernel / 2) + residual; });
  }
}

void bench_attention(Dtype dtype, int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t width) {
  const auto make = [&](int64_t tokens) { return torch::randn({batch, tokens, heads * width}).to(dtype); };
  const Tensor q = make(queries), k = make(keys), v = make(keys);
  const auto split = [&](const Tensor& x) { return x.unflatten(-1, {heads, width}).transpose(1, 2); };
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  line(
      "attention " + type_name(dtype) + std::to_string(batch * heads) + " x " + std::to_string(queries) + " x " + std::to_string(keys) +
          ", d " + std::to_string(width),
      4.0 * batch * heads * queries * keys * width, "GFLOP/s", [&] { return attention(q, k, v, heads, scale, false); },
      [&] { return torch_attention(split(q), split(k), split(v), scale, false).transpose(1, 2).flatten(2); });
}

// What libtorch's automatic differentiation takes for the gradients of `inputs`, the forward being done.
std::function<Tensor()> torch_backward(std::vector<Tensor> inputs, const std::function<Tensor(const std::vector<Tensor>&)>& formula) {
  torch::AutoGradMode recording(true);
  for (auto& x : inputs) x = x.detach().requires_grad_();
  const Tensor y = formula(inputs), dy = torch::randn_like(y);
  return [=] { return torch::autograd::grad({y}, inputs, {dy}, /*retain_graph=*/true)[0]; };
}

void bench_attention_backward(Dtype dtype, int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t width) {
  const std::string name = "attention_backward " + type_name(dtype) + std::to_string(batch * heads) + " x " + std::to_string(queries) +
                           " x " + std::to_string(keys) + ", d " + std::to_string(width);
  if (!is_wanted(name)) return;
  const auto make = [&](int64_t tokens) { return torch::randn({batch, tokens, heads * width}).to(dtype); };
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  const AttentionInput input{make(queries), make(keys), make(keys), heads, scale, false};
  const AttentionResult result = attention_with_lse(input);
  const Tensor dout = make(queries);
  const auto split = [&](const Tensor& x) { return x.unflatten(-1, {heads, width}).transpose(1, 2); };
  line(
      name, 10.0 * batch * heads * queries * keys * width, "GFLOP/s", [&] { return attention_backward(input, result, dout, true, true).dq; },
      torch_backward({input.q, input.k, input.v}, [&](const std::vector<Tensor>& x) {
        return torch_attention(split(x[0]), split(x[1]), split(x[2]), scale, false).transpose(1, 2).flatten(2);
      }));
}

void bench_rows_backward(Dtype dtype) {
  using Tensors = std::vector<Tensor>;
  const auto last = at::MemoryFormat::ChannelsLast;
  const Tensor weight = torch::randn({320}), bias = torch::randn({320}), w = weight.to(dtype), b = bias.to(dtype);
  const Tensor x = torch::randn({2, 320, 64, 64}).to(dtype).contiguous(last), dy = torch::randn_like(x);
  const double bytes = static_cast<double>(x.numel() * x.element_size());
  const std::string type = type_name(dtype);
  const GroupNorm norm{32, weight, bias, 1e-5, true, {}};
  const Tensor statistics = group_norm_with_statistics(x, norm).statistics;
  line(
      "group_norm+silu_backward " + type + "2 x 320 x 64²", 3 * bytes, "GB/s",
      [&] { return group_norm_backward(dy, x, statistics, norm, {true, false, false, false}).dx; },
      torch_backward({x}, [&](const Tensors& in) { return at::silu(at::group_norm(in[0], 32, w, b, 1e-5)); }));
  const Tensor tokens = torch::randn({2, 4096, 320}).to(dtype), dtokens = torch::randn_like(tokens);
  line(
      "layer_norm_backward " + type + "8192 x 320", 3 * bytes, "GB/s",
      [&] { return layer_norm_backward(dtokens, tokens, weight, 1e-5, true, false).dx; },
      torch_backward({tokens}, [&](const Tensors& in) { return at::layer_norm(in[0], {320}, w, b, 1e-5); }));
  const Tensor wide = torch::randn({2, 4096, 2560}).to(dtype), dwide = torch::randn({2, 4096, 1280}).to(dtype);
  line(
      "geglu_backward " + type + "8192 x 2560", 2.5 * wide.numel() * wide.element_size(), "GB/s", [&] { return geglu_backward(dwide, wide); },
      torch_backward({wide}, [](const Tensors& in) {
        const auto halves = in[0].chunk(2, -1);
        return halves[0] * at::gelu(halves[1]);
      }));
  line(
      "silu_backward " + type + "2 x 320 x 64²", 3 * bytes, "GB/s", [&] { return kernels::silu_backward(dy, x); },
      torch_backward({x}, [](const Tensors& in) { return at::silu(in[0]); }));
  const Tensor large = torch::randn({2, 320, 128, 128}).to(dtype).contiguous(last);
  line(
      "upsample_nearest2x_backward " + type + "2 x 320 x 64²", 5 * bytes, "GB/s", [&] { return upsample_nearest2x_backward(large); },
      torch_backward({x}, [](const Tensors& in) { return at::upsample_nearest2d(in[0], {128, 128}); }));
}

void bench_rows(Dtype dtype) {
  const auto last = at::MemoryFormat::ChannelsLast;
  const Tensor weight = torch::randn({320}), bias = torch::randn({320}), w = weight.to(dtype), b = bias.to(dtype);
  const Tensor x = torch::randn({2, 320, 64, 64}).to(dtype).contiguous(last);
  const double bytes = static_cast<double>(x.numel() * x.element_size());
  const std::string type = type_name(dtype);
  line(
      "group_norm+silu " + type + "2 x 320 x 64²", 2 * bytes, "GB/s", [&] { return group_norm(x, 32, weight, bias, 1e-5, true); },
      [&] { return at::silu(at::group_norm(x, 32, w, b, 1e-5)); });
  const Tensor large = torch::randn({1, 256, 256, 256}).to(dtype).contiguous(last), ones = torch::ones({256});
  line(
      "group_norm+silu " + type + "1 x 256 x 256²", 2.0 * large.numel() * large.element_size(), "GB/s",
      [&] { return group_norm(large, 32, ones, ones, 1e-5, true); },
      [&] { return at::silu(at::group_norm(large, 32, ones.to(dtype), ones.to(dtype), 1e-5)); });
  const Tensor tokens = torch::randn({2, 4096, 320}).to(dtype);
  line(
      "layer_norm " + type + "8192 x 320", 2 * bytes, "GB/s", [&] { return layer_norm(tokens, weight, bias, 1e-5); },
      [&] { return at::layer_norm(tokens, {320}, w, b, 1e-5); });
  const Tensor wide = torch::randn({2, 4096, 2560}).to(dtype);
  line(
      "geglu " + type + "8192 x 2560", 1.5 * wide.numel() * wide.element_size(), "GB/s", [&] { return geglu(wide); },
      [&] {
        const auto halves = wide.chunk(2, -1);
        return halves[0] * at::gelu(halves[1]);
      });
  line(
      "silu " + type + "2 x 320 x 64²", 2 * bytes, "GB/s", [&] { return kernels::silu(x); }, [&] { return at::silu(x); });
  line(
      "upsample_nearest2x " + type + "2 x 320 x 64²", 5 * bytes, "GB/s", [&] { return upsample_nearest2x(x); },
      [&] {
        return at::upsample_nearest2d(x, {128, 128});
      });
  line(
      "concat_channels " + type + "2 x 640 x 64²", 4 * bytes, "GB/s", [&] { return concat_channels(x, x); },
      [&] {
        return at::cat({x, x}, 1);
      });
}

}  // namespace

int main(int argc, char** argv) {
  wanted.assign(argv + 1, argv + argc);
  torch::NoGradGuard no_grad;
  prepare_process();
  std::printf("%s of %s, %d threads\n", to_string(isa()), to_string(machine_isa()), at::get_num_threads());
  for (const Dtype dtype : {torch::kBFloat16, torch::kFloat}) {
    bench_attention(dtype, 2, 8, 4096, 4096, 40);
    bench_attention(dtype, 2, 8, 4096, 77, 40);
    bench_attention(dtype, 2, 8, 1024, 1024, 80);
    bench_attention(dtype, 2, 8, 256, 256, 160);
    bench_attention(dtype, 2, 10, 1024, 1024, 64);
    bench_attention(dtype, 1, 1, 4096, 4096, 512);
    bench_attention(dtype, 2, 12, 77, 77, 64);  // the text encoder
    bench_attention(dtype, 1, 8, 4096, 4096, 40);
    bench_attention_backward(dtype, 1, 8, 4096, 4096, 40);
    bench_attention_backward(dtype, 1, 8, 4096, 77, 40);
    bench_attention_backward(dtype, 2, 8, 1024, 1024, 80);
    bench_attention_backward(dtype, 2, 8, 256, 256, 160);
    bench_attention_backward(dtype, 2, 10, 1024, 1024, 64);
    bench_conv(dtype, 2, 320, 320, 64);
    bench_conv(dtype, 2, 640, 640, 32);
    bench_conv(dtype, 2, 1280, 1280, 16);
    bench_conv(dtype, 2, 1280, 1280, 8);
    bench_conv(dtype, 2, 2560, 1280, 16);
    bench_conv(dtype, 2, 960, 320, 64);
    bench_conv(dtype, 2, 960, 320, 64, 1);
    bench_conv(dtype, 2, 320, 320, 64, 3, 2);
    bench_conv(dtype, 1, 512, 512, 64);
    bench_conv(dtype, 1, 256, 256, 256);
    bench_conv(dtype, 1, 128, 128, 512);
    bench_linear(dtype, 8192, 320, 320);
    bench_linear(dtype, 8192, 320, 2560);
    bench_linear(dtype, 8192, 1280, 320);
    bench_linear(dtype, 2048, 640, 640);
    bench_linear(dtype, 2048, 640, 5120);
    bench_linear(dtype, 512, 1280, 1280);
    bench_linear(dtype, 512, 1280, 10240);
    bench_linear(dtype, 154, 768, 320);
    bench_linear(dtype, 154, 768, 768);  // the text encoder
    bench_linear(dtype, 154, 768, 3072);
    bench_linear(dtype, 154, 3072, 768);
    bench_rows(dtype);
    bench_rows_backward(dtype);
  }
  return 0;
}
