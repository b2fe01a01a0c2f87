// Vectors to numpy arrays, for the modules.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace commonground {

// Hand a vector over to numpy without a copy.
template <class T>
nanobind::object to_numpy(std::vector<T> values, std::initializer_list<std::size_t> shape) {
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    T* data = owned->data();
    const nanobind::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    owned.release();
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, T>(data, shape, owner));
}

template <class T>
nanobind::object rows(std::vector<T> values, std::size_t columns) {
    const std::size_t count = values.size() / columns;
    return to_numpy(std::move(values), {count, columns});
}

// Records of equal numbers, seen as the rows of a table of those.
template <class Number, class Record>
nanobind::object table(std::vector<Record> records) {
    static_assert(sizeof(Record) % sizeof(Number) == 0);
    auto owned = std::make_unique<std::vector<Record>>(std::move(records));
    const std::size_t count = owned->size();
    auto* data = reinterpret_cast<Number*>(owned->data());
    const nanobind::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<Record>*>(p); });
    owned.release();
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, Number>(data, {count, sizeof(Record) / sizeof(Number)}, owner));
}

}  // namespace commonground
