// LoKr (LyCORIS, Yeh et al. 2023, arXiv 2309.14859, sec. 3.3; Edalati et al. 2022, arXiv 2212.10650):
//   ΔW = s · w1 ⊗ w2,   each wi whole or wi_a · wi_b (w2 Tucker-decomposed where lokr_t2 is given)
// s = alpha / rank of whichever is split; 1 when both are whole, whatever alpha says (as the trainer).
#include <cmath>

#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace {

struct KroneckerFactor {
  Tensor whole, a, b, core;

  Tensor value() const {
    if (whole.defined()) return whole;
    return core.defined() ? tucker(core, a, b) : torch::matmul(a, b);
  }
  int64_t rank() const { return whole.defined() ? 0 : b.size(0); }
};

class LokrAdapter : public AdditiveAdapter {
 public:
  LokrAdapter(KroneckerFactor first, KroneckerFactor second, DeltaShape shape, Scale scale)
      : first_(std::move(first)), second_(std::move(second)), shape_(std::move(shape)), scale_(scale) {}

  std::string_view kind() const override { return "lokr"; }
  int64_t rank() const override { return second_.rank() ? second_.rank() : first_.rank(); }
  double alpha() const override { return scale_.alpha; }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all;
    const auto add = [&](const char* name, const Tensor& tensor) {
      if (tensor.defined()) all.push_back({name, tensor});
    };
    add("lokr_w1", first_.whole);
    add("lokr_w1_a", first_.a);
    add("lokr_w1_b", first_.b);
    add("lokr_w2", second_.whole);
    add("lokr_w2_a", second_.a);
    add("lokr_w2_b", second_.b);
    add("lokr_t2", second_.core);
    all.push_back(alpha_tensor(scale_.alpha));
    return all;
  }

 protected:
  Tensor delta() const override {
    Tensor w1 = first_.value();
    const Tensor w2 = second_.value();
    if (w2.dim() == 4) w1 = w1.unsqueeze(2).unsqueeze(3);
    return scale_.value * shape_.fit(torch::kron(w1, w2.contiguous()));
  }

 private:
  KroneckerFactor first_, second_;
  DeltaShape shape_;
  Scale scale_;
};

bool recognise(const TensorShapes& tensors) {
  return tensors.contains("lokr_w1") || tensors.contains("lokr_w1_a") || tensors.contains("lokr_w2") || tensors.contains("lokr_w2_a");
}

KroneckerFactor consume_factor(TensorGroup& tensors, const std::string& name, const std::string& core) {
  KroneckerFactor factor;
  if (tensors.has(name)) {
    factor.whole = tensors.consume(name);
  } else {
    factor.a = tensors.require(name + "_a");
    factor.b = tensors.require(name + "_b");
    factor.core = tensors.consume(core);
    const bool sound = factor.a.dim() == 2 && factor.b.dim() == 2 &&
                       (factor.core.defined()
                            ? factor.core.dim() == 4 && factor.core.size(0) == factor.a.size(0) && factor.core.size(1) == factor.b.size(0)
                            : factor.a.size(1) == factor.b.size(0));
    if (!sound)
      throw Error(ErrorKind::bad_input, tensors.module() + ": the two halves of " + name + " do not fit each other", "the file is broken");
  }
  return factor;
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const KroneckerFactor first = consume_factor(tensors, "lokr_w1", "lokr_t1"), second = consume_factor(tensors, "lokr_w2", "lokr_t2");
  const Tensor w1 = first.value(), w2 = second.value();
  if (w1.dim() != 2 || (w2.dim() != 2 && w2.dim() != 4))
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": factors of shape " + to_string(w1.sizes()) + " and " + to_string(w2.sizes()) +
                    " have no Kronecker product that is a weight",
                "the file is broken");
  const int64_t rank = second.rank() ? second.rank() : first.rank();
  Scale scale = consume_scale(tensors, rank);
  if (rank == 0) scale.value = 1;
  const DeltaShape shape(tensors.module(), layer, w1.size(0) * w2.size(0), w1.size(1) * columns_of(w2));
  return std::make_unique<LokrAdapter>(first, second, shape, scale);
}

// The divisor of `size` nearest below its square root (LyCORIS' factorization(): the small factor first).
int64_t small_factor(int64_t size) {
  auto factor = static_cast<int64_t>(std::sqrt(static_cast<double>(size)));
  while (size % factor != 0) --factor;
  return factor;
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions& options) {
  const Tensor& weight = layer.base_weight();
  if (weight.dim() < 2) return nullptr;
  const int64_t rows = small_factor(weight.size(0)), columns = small_factor(weight.size(1)), rank = options.rank;
  const int64_t rows2 = weight.size(0) / rows, columns2 = columns_of(weight) / columns;
  const KroneckerFactor first{torch::randn({rows, columns}) / std::sqrt(static_cast<double>(columns)), {}, {}, {}};
  const KroneckerFactor second{
      {}, torch::zeros({rows2, rank}), torch::randn({rank, columns2}) / std::sqrt(static_cast<double>(columns2)), {}};
  return std::make_unique<LokrAdapter>(first, second, DeltaShape("fresh", layer, rows * rows2, columns * columns2),
                                       Scale{options.alpha, options.alpha / static_cast<double>(rank)});
}

}  // namespace

const AdapterKind kLokrKind{"lokr", "the Kronecker product of two small factors", recognise, load, create};

}  // namespace lorikeet
