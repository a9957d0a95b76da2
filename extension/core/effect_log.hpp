// effect_log: what a transaction will do to shared memory, in order, each with the nesting level it was done at.
//
// A subtransaction that aborts takes the end of the log with it, latest first; one that commits hands its part to its
// parent.  The memory is the caller's, who reserves before an effect is made, so that nothing can fail afterwards.
#pragma once

#include <cstddef>
#include <type_traits>

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// `Effect` is plain data with a public `int level`.
template <typename Effect>
class EffectLog {
    static_assert(std::is_trivially_copyable_v<Effect>);

public:
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool        empty() const noexcept { return size_ == 0; }
    Effect                   &operator[](std::size_t i) noexcept { return effects_[i]; }
    const Effect             &operator[](std::size_t i) const noexcept { return effects_[i]; }

    /// Memory for at least size() effects, which the caller has moved there.
    void use(Effect *memory, std::size_t capacity) noexcept
    {
        effects_  = memory;
        capacity_ = capacity;
    }

    /// Precondition: size() < capacity().  Returns its place, which stays as long as the effect does.
    std::size_t add(const Effect &effect) noexcept
    {
        effects_[size_] = effect;
        return size_++;
    }

    /// Calls undo(effect) for what was done at `level` or deeper, latest first, and forgets it.
    template <typename Undo>
    void abort(int level, Undo undo) noexcept
    {
        while (size_ > 0 && effects_[size_ - 1].level >= level)
            undo(effects_[--size_]);
    }

    /// What was done at `level` or deeper now belongs to the level above.
    void merge(int level) noexcept
    {
        for (std::size_t i = size_; i > 0 && effects_[i - 1].level >= level; --i)
            effects_[i - 1].level = level - 1;
    }

    /// Forgets everything, and the memory.
    void clear() noexcept { *this = EffectLog{}; }

private:
    Effect     *effects_  = nullptr;
    std::size_t size_     = 0;
    std::size_t capacity_ = 0;
};

} // namespace sluice::core
