"""CPU work in pure Python: it holds the GIL and gives it up every switch interval."""


def primes(n: int) -> int:
    """Count the primes below ``n`` by trial division."""
    found: list[int] = []
    for candidate in range(2, n):
        for prime in found:
            if prime * prime > candidate:
                found.append(candidate)
                break
            if candidate % prime == 0:
                break
        else:
            found.append(candidate)
    return len(found)
